package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// evictsAll has every pod go that may be evicted: all of something is to be left.
func evictsAll(s *stage, signal node.Signal) {
	s.config.Eviction = node.Eviction{Hard: map[node.Signal]node.Amount{signal: {Share: 1}}}
	s.start()
}

// memoryEviction has three pods go in the order that Kubernetes gives them, and none that is part of the system.
func memoryEviction(s *stage) {
	spec := func(priority, grace int, request string) string {
		return fmt.Sprintf(`
restartPolicy: Never
priority: %d
terminationGracePeriodSeconds: %d
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap '' TERM; sleep 100000 & wait"]
  resources: {requests: {memory: %s}}`, priority, grace, request)
	}
	modest, low := s.run("modest", spec(0, 600, "500Mi")), s.run("low", spec(1, 600, "1Ki"))
	high, critical := s.run("high", spec(2, 600, "1Ki")), s.run("critical", spec(2_000_000_000, 1, "1Ki"))
	for _, uid := range []string{modest, low, high, critical} {
		s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	}
	began := time.Now()
	evictsAll(s, node.MemoryAvailable)
	var finished []time.Time
	for _, uid := range []string{low, high, modest} {
		p := s.comes(uid, "the pod is evicted and has ended", func(p api.PodStatus) bool {
			return p.Phase == api.PodFailed && container(p, "run").State == "terminated"
		})
		if p.Reason != "Evicted" || !strings.HasPrefix(p.Message, "The node was low on resource: memory. Threshold quantity: ") {
			s.Errorf("it has failed for %s: %s", p.Reason, p.Message)
		}
		over := strings.Contains(p.Message, "Container run was using ") && strings.HasSuffix(p.Message, ", request is 1Ki, has larger consumption of memory.")
		if over != (uid != modest) {
			s.Errorf("of its use it says %q", p.Message)
		}
		finished = append(finished, container(p, "run").Finished)
	}
	if !slices.IsSortedFunc(finished, time.Time.Compare) {
		s.Errorf("low, high and modest ended at %v", finished)
	}
	if took := finished[2].Sub(began); took > time.Minute {
		s.Errorf("it took %v: they had their own grace", took)
	}
	if p, found := s.bus.pod(critical); !found || !p.Ready {
		s.Errorf("what is part of the system is %+v", p)
	}
	s.pressed(corev1.NodeMemoryPressure, "memory.available is ")
}

// diskEviction has what has written go, and leaves alone what has not.
func diskEviction(s *stage) {
	writes := s.run("writes", `
restartPolicy: Never
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "trap 'exit 0' TERM; echo this is on the disk; sleep 100000 & wait"]}`)
	s.comes(writes, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	evictsAll(s, node.NodeFSAvailable)
	p := s.ends(writes, api.PodFailed)
	if p.Reason != "Evicted" || !strings.HasPrefix(p.Message, "The node was low on resource: ephemeral-storage. Threshold quantity: ") ||
		!strings.HasSuffix(p.Message, ", request is 0, has larger consumption of ephemeral-storage.") {
		s.Errorf("it has failed for %s: %s", p.Reason, p.Message)
	}
	s.pressed(corev1.NodeDiskPressure, "nodefs.available is ")
}

// pressed checks what the node says of itself.
func (s *stage) pressed(condition corev1.NodeConditionType, message string) {
	s.Helper()
	pressures := s.bus.pressures()
	if len(pressures) != 1 || pressures[0].Condition != condition || !strings.HasPrefix(pressures[0].Message, message) || pressures[0].Since.IsZero() {
		s.Errorf("the node's pressures are %+v", pressures)
	}
}

// Bounded is asked of a machine that has 96 MiB of memory for its pods: what takes most of it goes, what runs beside it stays,
// and after that there is no more pressure.
func Bounded(t testing.TB, m Machine) {
	m.Config.Eviction = node.Eviction{
		Hard:       map[node.Signal]node.Amount{node.MemoryAvailable: {Bytes: 50 << 20}},
		Reclaim:    map[node.Signal]node.Amount{node.MemoryAvailable: {Bytes: 5 << 20}},
		Transition: time.Second,
	}
	s := newStage(t, m)
	quiet := s.run("quiet", `
priority: -5
containers:
- {name: run, image: IMAGE, resources: {requests: {memory: 30Mi}}, command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}`)
	s.comes(quiet, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	greedy := s.run("greedy", `
restartPolicy: Never
containers:
- name: run
  image: IMAGE
  resources: {requests: {memory: 20Mi}}
  command: [/bin/sh, -c, "dd if=/dev/zero of=/dev/shm/full bs=1M count=50 && sleep 100000"]`)
	p := s.ends(greedy, api.PodFailed)
	if p.Reason != "Evicted" || !strings.Contains(p.Message, "Threshold quantity: 50Mi") || !strings.Contains(p.Message, "request is 20Mi") {
		s.Errorf("it has failed for %s: %s", p.Reason, p.Message)
	}
	s.until("there is no more pressure", func() bool { return len(s.bus.pressures()) == 0 })
	if p, found := s.bus.pod(quiet); !found || !p.Ready || container(p, "run").Restarts != 0 {
		s.Errorf("what ran beside it is %+v", p)
	}
}
