package api

import (
	"encoding/json"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

func TestRefRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`[A-Za-z][a-z0-9-]{0,8}`)
		ref := Ref{Kind: part.Draw(t, "kind"), Name: part.Draw(t, "name")}
		if rapid.Bool().Draw(t, "namespaced") {
			ref.Namespace = part.Draw(t, "namespace")
		}
		got, err := ParseRef(ref.String())
		if err != nil || got != ref {
			t.Fatalf("ParseRef(%q) = %v, %v", ref, got, err)
		}
	})
}

func TestParseRefRefuses(t *testing.T) {
	for _, s := range []string{"", "Pod", "a/b/c/d", "Pod//x", "/x", "Pod/"} {
		if ref, err := ParseRef(s); err == nil {
			t.Errorf("ParseRef(%q) = %v, want an error", s, ref)
		}
	}
}

func TestObjectsRoundTrip(t *testing.T) {
	want := []Object{{
		Ref:    Ref{Kind: "ConfigMap", Namespace: "shop", Name: "c"},
		Source: Position{File: "c.yaml", Line: 1, Column: 1},
		Value: &corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "c"},
			Data:       map[string]string{"k": "v"},
		},
	}}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeObjects(data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := DecodeObjects([]byte(`[{"ref":{"kind":"X","name":"x"},"value":{"apiVersion":"v1","kind":"Nothing"}}]`)); err == nil {
		t.Error("a kind that nobody knows was decoded")
	}
}
