package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
)

// BenchmarkPass is one pass of the controller with 100,000 pods of 1,000 deployments, with a service each, on 5,000 nodes: after
// a node reported that one of its pods ceased to be ready, or became so.
func BenchmarkPass(b *testing.B) {
	const nodes, deployments, replicas = 5000, 1000, 100
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	var text strings.Builder
	for i := range deployments {
		fmt.Fprintf(&text, "deployment web%d image=v1 replicas=%d\nservice web%d\n", i, replicas, i)
	}
	result, err := parse(text.String())
	if err != nil {
		b.Fatal(err)
	}
	limits := testLimits
	limits.serviceCIDR = "10.96.0.0/12"
	s := newState(limits, fakeSeal, 1, State{}, now)
	statuses := map[string]api.NodeStatus{}
	var infos []api.NodeInfo
	for i := range nodes {
		name := fmt.Sprintf("n%d", i)
		infos = append(infos, api.NodeInfo{
			Name: name, Labels: map[string]string{"zone": fmt.Sprint(i % 3)}, Allocatable: api.Resources{MilliCPU: 32_000, Memory: 64 << 30}, MaxPods: 110,
		})
		statuses[name] = api.NodeStatus{Node: name}
	}
	say := func(name string, status api.NodeStatus) {
		status.Time = now
		statuses[name] = status
		s.observeStatus(status, now)
	}
	pass := func() int {
		e := s.reconcile(now)
		for _, blob := range e.blobs {
			s.blobWritten(blob.digest)
		}
		for _, a := range e.assignments {
			s.assignmentWritten(a)
			status := api.NodeStatus{Node: a.Node, Term: a.Term, Sequence: a.Sequence}
			for i, p := range a.Pods {
				ip := fmt.Sprintf("10.%d.%d.%d", len(a.Node), a.Sequence, i)
				status.Pods = append(status.Pods, api.PodStatus{Placement: p, Phase: api.PodRunning, IP: ip, Ready: true, ReadySince: now, Started: now})
			}
			say(a.Node, status)
		}
		s.routesWritten(e.routes, s.routes.revision+1)
		s.routes.complete = true
		s.due()
		s.report(now, nil)
		return len(e.assignments) + len(e.routes.changed)
	}
	s.observeNodes(infos, now)
	for name, status := range statuses {
		say(name, status)
	}
	s.observeCommit(compiled{head: api.Revision{Commit: "c"}, result: result}, now)
	now = now.Add(limits.settle)
	for n := 1; n > 0; {
		n = pass()
		now = now.Add(time.Second)
	}
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Millisecond)
		name := fmt.Sprintf("n%d", i/2*7919%nodes)
		status := statuses[name]
		status.Pods = append([]api.PodStatus(nil), status.Pods...)
		status.Pods[0].Ready = !status.Pods[0].Ready
		say(name, status)
		if pass() != 1 {
			b.Fatal("one route changes, and nothing else")
		}
	}
}
