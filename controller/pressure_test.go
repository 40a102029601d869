package controller

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// TestPressure taints a node by what it reports, beside what Git says of it, and says so.
func TestPressure(t *testing.T) {
	declared := &corev1.Node{}
	declared.Spec.Taints = append(make([]corev1.Taint, 0, 8), corev1.Taint{Key: "own", Effect: corev1.TaintEffectNoSchedule})
	n := &node{name: "n1", info: &api.NodeInfo{Name: "n1"}, declared: declared, reported: true}
	s := &state{nodes: map[string]*node{"n1": n}}
	n.status.Pressures = []api.Pressure{
		{Condition: corev1.NodeDiskPressure, Since: time.Unix(1, 0), Message: "nodefs.available is 1Gi, below 2Gi"},
		{Condition: corev1.NodeMemoryPressure, Since: time.Unix(1, 0), Message: "memory.available is 1Mi, below 2Mi"},
	}
	taints := n.schedulable(nil).Taints
	want := []string{"own:NoSchedule", "node.kubernetes.io/disk-pressure:NoSchedule", "node.kubernetes.io/memory-pressure:NoSchedule"}
	for i, taint := range want {
		if len(taints) != len(want) || taints[i].ToString() != taint {
			t.Fatalf("the taints are %v, want %v", taints, want)
		}
	}
	const reason = "DiskPressure: nodefs.available is 1Gi, below 2Gi; MemoryPressure: memory.available is 1Mi, below 2Mi"
	if c := s.condition(n, 0); c.State != nodeReady || c.Reason != reason {
		t.Errorf("it is %s: %s", c.State, c.Reason)
	}
	n.status.Pressures = nil
	if taints := n.schedulable(nil).Taints; len(taints) != 1 || len(declared.Spec.Taints[:2][1].Key) != 0 {
		t.Errorf("without pressure: %v; Git's own list holds %v", taints, declared.Spec.Taints[:2])
	}
}
