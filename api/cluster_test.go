package api

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestClusterRoundTrip(t *testing.T) {
	most, share := int32(5), Percent(25)
	c := &Cluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: ClusterVersion, Kind: "Cluster"},
		ObjectMeta: metav1.ObjectMeta{Name: "fleet"},
		Spec: ClusterSpec{
			Unsupported: UnsupportedRefuse, Deletion: &DeletionBudget{MaxObjects: &most, MaxShare: &share},
			Freeze: []FreezeWindow{{Schedule: "0 18 * * FRI", Duration: metav1.Duration{Duration: 8 * time.Hour}, TimeZone: "Europe/Berlin"}},
		},
	}
	want := []Object{{Ref: Ref{Kind: "Cluster", Name: "fleet"}, Value: c}}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeObjects(data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	twin, ok := c.DeepCopyObject().(*Cluster)
	if !ok || !reflect.DeepEqual(twin, c) {
		t.Fatalf("the copy is %+v", twin)
	}
	*twin.Spec.Deletion.MaxShare, twin.Spec.Freeze[0].Schedule = 50, "changed"
	if share != 25 || c.Spec.Freeze[0].Schedule != "0 18 * * FRI" {
		t.Error("the copy shares memory with its origin")
	}
}

func TestPercentRefuses(t *testing.T) {
	for _, text := range []string{`25`, `"25"`, `"101%"`, `"-1%"`, `"2.5%"`, `"%"`} {
		var p Percent
		if err := json.Unmarshal([]byte(text), &p); err == nil {
			t.Errorf("%s was read as %s", text, p)
		}
	}
}
