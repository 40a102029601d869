package controller

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
)

// checkBook finds what is known of pods without looking at them to be as it is. Every pass of a scenario or a random history is
// followed by it.
func (s *state) checkBook() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	planned := map[string]planner.Pod{}
	for _, p := range s.pods.keeper.Pods() {
		planned[p.UID] = p
		if len(s.pods.byUID[p.UID]) == 0 {
			wrong("%s is planned, and there is none", p.Pod)
		}
	}
	if s.countPods() < len(s.pods.byUID) {
		wrong("%d pods are known by UID, and there are %d", len(s.pods.byUID), s.countPods())
	}
	for uid, best := range s.pods.best {
		if o := s.observed(best); !s.nodes[best.placement.Node].unlooked && !reflect.DeepEqual(o, planned[uid]) {
			wrong("%s is planned as\n%+v\nand the one that counts is\n%+v", best.placement.Pod, planned[uid], o)
		}
	}
	used := map[api.Digest]bool{}
	for i := range s.workloads {
		used[s.workloads[i].Stable] = true
	}
	for _, p := range s.allPods() {
		used[p.placement.Template] = true
	}
	for digest := range s.templates {
		if !used[digest] && !s.pods.unswept {
			wrong("template %s is kept for nobody", digest.Short())
		}
	}
	for _, n := range s.sortedNodes() {
		cached := n.labels()
		if n.labelled = (labelled{}); !maps.Equal(n.labels(), cached) {
			wrong("%s has the labels %v, and was known by %v", n.name, n.labels(), cached)
		}
		for uid, p := range n.pods {
			if !slices.Contains(s.pods.byUID[uid], p) {
				wrong("%s on %s is not known by UID", p.placement.Pod, n.name)
			}
		}
		if !n.uncompared && !n.doubtful && !slices.EqualFunc(n.placements(), n.written.Pods, samePlacement) {
			wrong("%s does not have the pods of its assignment, and would not be given them", n.name)
		}
		stands := standing{n.lost && s.anyAlive(), n.outOfService(), s.lapsed(n)}
		if n.unlooked || stands != n.census.standing {
			continue // the next plan looks at it
		}
		if now := s.count(n, stands); now.assigned != n.census.assigned || now.pulls != n.census.pulls || now.rekeyed && !n.census.rekeyed || now.bare && !n.census.bare {
			wrong("%s was counted as %+v, and is %+v", n.name, n.census, now)
		}
		for uid, p := range n.pods {
			if !p.runs() && !slices.Contains(n.census.idle, p) {
				wrong("%s on %s does not run, and is not known to", p.placement.Pod, n.name)
			}
			if o := s.observed(p); len(s.pods.byUID[uid]) == 1 && !reflect.DeepEqual(o, planned[uid]) {
				wrong("%s on %s is planned as\n%+v\nand is\n%+v", p.placement.Pod, n.name, planned[uid], o)
			}
		}
	}
	return errors.Join(errs...)
}

// TestTwinTakesOver: of a pod that two machines report, the other counts when the one that did is gone.
func TestTwinTakesOver(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	s := newState(testLimits, nil, 1, State{}, now)
	for _, name := range []string{"n1", "n2"} {
		st := api.PodStatus{Placement: api.Placement{Node: name, PodIdentity: api.PodIdentity{UID: "u1"}}, Phase: api.PodRunning}
		s.observeStatus(api.NodeStatus{Node: name, Time: now, Pods: []api.PodStatus{st}}, now)
	}
	planned := func() string {
		s.look(now)
		if pods := s.pods.keeper.Pods(); len(pods) == 1 {
			return pods[0].Node
		}
		return ""
	}
	if got := planned(); got != "n1" {
		t.Errorf("the pod of %q counts", got)
	}
	s.dropPod(s.nodes["n1"], "u1")
	if got := planned(); got != "n2" {
		t.Errorf("then that of %q counts", got)
	}
	if s.dropPod(s.nodes["n2"], "u1"); planned() != "" || s.pods.get("u1") != nil {
		t.Error("there is still one")
	}
}

// TestLabelsFollow: what a node and Git say of its labels is seen at once.
func TestLabelsFollow(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	s := newState(testLimits, nil, 1, State{}, now)
	for _, zone := range []string{"a", "b"} {
		s.observeNodes([]api.NodeInfo{{Name: "n1", Labels: map[string]string{"zone": zone}}}, now)
		if got := s.nodes["n1"].labels()["zone"]; got != zone {
			t.Errorf("zone is %q, want %q", got, zone)
		}
	}
	for _, zone := range []string{"c", "d"} {
		declared := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"zone": zone}}}
		s.declareNodes([]api.Object{{Ref: nodeRef("n1"), Value: declared}}, now)
		if got := s.nodes["n1"].labels()["zone"]; got != zone {
			t.Errorf("zone is %q, want %q", got, zone)
		}
	}
}
