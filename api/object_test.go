package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"headway.dev/headway/api"
)

// TestSecretsAreWrittenHollow asks that nothing a Secret holds is in the JSON of an object, and that the rest comes back.
func TestSecretsAreWrittenHollow(t *testing.T) {
	secret := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "db", Labels: map[string]string{"app": "shop"},
			Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: `{"data":{"password":"aHVudGVyMg=="}}`},
		},
		Data:       map[string][]byte{"password": []byte("hunter2")},
		StringData: map[string]string{"user": "admiral"},
	}
	o := api.Object{Ref: api.Ref{Kind: "Secret", Namespace: "shop", Name: "db"}, Value: secret, Fingerprint: "f1"}
	for _, value := range []any{o, &o, []api.Object{o}, map[string]any{"o": o}} {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"hunter2", "aHVudGVyMg", "admiral"} {
			if strings.Contains(string(data), secret) {
				t.Errorf("%s is in %s", secret, data)
			}
		}
	}
	data, err := json.Marshal([]api.Object{o})
	if err != nil {
		t.Fatal(err)
	}
	back, err := api.DecodeObjects(data)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := back[0].Value.(*corev1.Secret)
	if !ok || got.Labels["app"] != "shop" || back[0].Fingerprint != "f1" {
		t.Errorf("got %+v", back[0])
	}
	if value, ok := got.Data["password"]; !ok || len(value) > 0 {
		t.Errorf("of data there is %q", got.Data)
	}
	if string(secret.Data["password"]) != "hunter2" {
		t.Error("the object itself was changed")
	}
}
