package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"headway.dev/headway/api"
)

// isolationText says what may come to each pod of the assignments, by the names of their applications.
func (w *scene) isolationText() string {
	var lines []string
	for _, a := range w.bus.assignments {
		if a.Isolation == nil {
			continue
		}
		if a.Isolation.Partial {
			lines = append(lines, "partial")
		}
		for _, group := range a.Isolation.Pods {
			for _, uid := range group.UIDs {
				name := "a pod that is not assigned"
				for _, p := range a.Pods {
					if p.UID == uid {
						name = p.Owner.Name
					}
				}
				from := "everything"
				if group.Ingress != nil {
					from = fmt.Sprint(len(group.Ingress.Flows))
				}
				lines = append(lines, name+" "+from)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// step commits, unless there is nothing to commit, and lets machines follow until nothing is left to do.
func (w *scene) step(t *testing.T, name string, lines ...string) {
	t.Helper()
	if name != "" {
		w.source.commit(name, lines...)
		if _, err := w.deliver(); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		if _, err := w.reconcile(); err != nil {
			t.Fatal(err)
		}
		// At no moment has a machine a pod without what isolates it.
		for _, a := range w.bus.assignments {
			for _, p := range a.Pods {
				isolated := a.Isolation != nil && slices.ContainsFunc(a.Isolation.Pods, func(g api.IsolatedPods) bool { return slices.Contains(g.UIDs, p.UID) })
				if p.Owner.Name == "front" && !isolated && slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "policy front") }) {
					t.Fatalf("%s is assigned without what isolates it", p.Pod)
				}
			}
		}
		w.each(nil, func(m *machine) { m.obey(w.now) })
	}
}

func TestIsolationIsAssignedWithThePods(t *testing.T) {
	w := newScene(t)
	w.add("n1")
	w.add("n2")
	w.watch()
	if err := w.advance("3s"); err != nil {
		t.Fatal(err)
	}
	apps := []string{"deployment front image=a replicas=2", "deployment back image=b"}
	expect := func(want string) {
		t.Helper()
		if got := w.isolationText(); got != want {
			t.Errorf("isolated: %s; want %s", got, want)
		}
	}
	w.step(t, "c1", append(apps, "policy front from=back")...)
	expect("front 1, front 1")

	// Nothing is left to do: no assignment is written again for what it says already.
	before := w.bus.assignments["n1"].Sequence
	w.step(t, "")
	if after := w.bus.assignments["n1"].Sequence; after != before {
		t.Errorf("the assignment goes from sequence %d to %d for nothing", before, after)
	}
	w.step(t, "c2", append(apps, "policy front")...)
	expect("front 0, front 0")
	w.step(t, "c3", append(apps, "policy front", "policy back from=front")...)
	expect("back 1, front 0, front 0")

	// A commit that does not evaluate opens nothing, nor does a new leader.
	w.step(t, "c4", append(apps, "error broken")...)
	expect("back 1, front 0, front 0")
	if _, err := w.deliver(); err != nil {
		t.Fatal(err)
	}
	w.step(t, "c5", append(apps, "policy front")...)
	expect("front 0, front 0")
	w.step(t, "c6", apps...)
	expect("")
}

func TestIsolationWithGapsIsPartial(t *testing.T) {
	s := newState(testLimits, fakeSeal, 1, State{}, newScene(t).now)
	n := s.node("n1", s.started)
	if s.isolationOf(n) != nil {
		t.Error("who is isolated without policies?")
	}
	s.desired.gaps = true
	if got := s.isolationOf(n); got == nil || !got.Partial {
		t.Errorf("with gaps in the objects, what is not isolated is told as open: %+v", got)
	}
}
