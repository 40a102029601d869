package containerd

import (
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
)

// TestRoster follows what is known of pods' containers.
func TestRoster(t *testing.T) {
	r := newRoster()
	want := func(uid string, known bool, ids ...string) {
		t.Helper()
		if got, whole := r.of(uid); whole != known || !slices.Equal(got, ids) {
			t.Errorf("pod %s has %v, %t; want %v, %t", uid, got, whole, ids, known)
		}
	}
	r.add("a", "a-2")
	want("a", false, "a-2")
	record := func(id, uid string) containers.Container {
		return containers.Container{ID: id, Labels: map[string]string{labelUID: uid}}
	}
	r.take([]containers.Container{record("a-1", "a"), record("b-1", "b"), {ID: "another's"}})
	want("a", true, "a-1", "a-2")
	want("b", true, "b-1")
	r.drop("a-1")
	r.drop("b-1")
	r.drop("b-1")
	want("a", true, "a-2")
	want("b", true)
}
