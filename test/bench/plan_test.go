package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
	"headway.dev/headway/scheduler"
)

// The goals of planning 100,000 pods of 2,000 objects over 5,000 nodes.
const (
	plannedPods      = 100_000
	plannedWorkloads = 1000 // and a Service for each
	plannedNodes     = 5000
	goalPlan         = 1000.0 // milliseconds from nothing
	goalReplan       = 5.0    // milliseconds after one pod changed
	goalPlanHeap     = 1024.0 // MiB
)

// BenchmarkPlanFromNothing plans all pods and finds each a node, where nothing runs.
func BenchmarkPlanFromNothing(b *testing.B) {
	in, nodes := fleetToPlan(b)
	var planning, placing time.Duration
	for b.Loop() {
		runtime.GC()
		start := time.Now()
		plan := planner.Compute(in)
		planned := time.Now()
		decisions := place(b, plan, nodes)
		planning += planned.Sub(start)
		placing += time.Since(planned)
		if len(decisions) != plannedPods {
			b.Fatalf("%d pods", len(decisions))
		}
	}
	b.ReportMetric(ms(planning)/float64(b.N), "ms-planning/op")
	b.ReportMetric(ms(placing)/float64(b.N), "ms-placing/op")
	b.ReportMetric(goalPlan*float64(b.N)/ms(planning+placing), "of-goal")
}

// BenchmarkPlanOneChanged plans again after one of the pods ceased to be ready, or became so, and measures the heap with all of
// them and all that is kept of the plan before.
func BenchmarkPlanOneChanged(b *testing.B) {
	before := heap()
	in, nodes := fleetToPlan(b)
	plan := planner.Compute(in)
	pods := running(b, plan, nodes, in.Now)
	keeper := planner.NewKeeper()
	for i := range pods {
		keeper.Put(pods[i])
	}
	for range 3 { // to where nothing is new in what was planned before
		in.Rollouts, in.Routes, in.Now = plan.Workloads, plan.Routes, in.Now.Add(time.Minute)
		if plan = keeper.Plan(in); len(plan.Actions) > 0 {
			b.Fatalf("%d actions where all is as it should be", len(plan.Actions))
		}
	}
	runtime.GC()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		in.Rollouts, in.Routes, in.Now = plan.Workloads, plan.Routes, in.Now.Add(time.Second)
		pod := &pods[i/2*7919%len(pods)]
		pod.Ready = !pod.Ready
		keeper.Put(*pod)
		plan = keeper.Plan(in)
	}
	took := float64(b.Elapsed()) / float64(b.N) / float64(time.Millisecond)
	b.ReportMetric(took, "ms/op")
	b.ReportMetric(goalReplan/took, "of-goal")
	used := heap() - before
	b.ReportMetric(used, "MiB-heap")
	b.ReportMetric(goalPlanHeap/used, "of-goal-heap")
	runtime.KeepAlive(in)
	runtime.KeepAlive(keeper)
}

// running are the pods that a plan creates, each on the node that is found for it and ready.
func running(b *testing.B, plan planner.Plan, nodes []scheduler.Node, at time.Time) []planner.Pod {
	b.Helper()
	placements := map[string]api.Placement{}
	for _, a := range plan.Actions {
		placements[a.Pod.UID] = a.Placement()
	}
	var pods []planner.Pod
	for i, d := range place(b, plan, nodes) {
		p := placements[d.Pod.UID]
		p.Node = d.Node
		pods = append(pods, planner.Pod{
			Placement: p, Phase: api.PodRunning, IP: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Ready: true, ReadySince: at, Started: at,
		})
	}
	return pods
}

// place has a node found for every pod that a plan creates.
func place(b *testing.B, plan planner.Plan, nodes []scheduler.Node) []scheduler.Decision {
	b.Helper()
	in := scheduler.Input{Nodes: nodes}
	for _, a := range plan.Actions {
		p := a.Placement()
		in.Pods = append(in.Pods, scheduler.Pod{Identity: a.Pod, Spec: &a.Template.Spec, Labels: p.Labels, Requests: p.Requests})
	}
	decisions := scheduler.Compute(in)
	for _, d := range decisions {
		if d.Node == "" {
			b.Fatalf("%s: %s", d.Pod.Pod, d.Reason)
		}
	}
	return decisions
}

// fleetToPlan is what Git wants, compiled, and the nodes as planner and scheduler see them.
func fleetToPlan(b *testing.B) (planner.Input, []scheduler.Node) {
	b.Helper()
	tree := fstest.MapFS{}
	for i := range plannedWorkloads {
		service := fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: app-%[1]d}\nspec: {selector: {app: app-%[1]d}, ports: [{port: 80, targetPort: 8080}]}\n", i)
		text := strings.ReplaceAll(manifest(fmt.Sprintf("app-%d", i), plannedPods/plannedWorkloads, ""), "kind: ConfigMap", "kind: ConfigMap # for all")
		_, text, _ = strings.Cut(text, "---\n") // without the config map, which all have
		text = strings.NewReplacer(", namespace: bench", "", "env:", "resources: {requests: {cpu: 100m, memory: 64Mi}}\n          env:").Replace(text)
		tree[fmt.Sprintf("app-%d.yaml", i)] = &fstest.MapFile{Data: []byte(text + service)}
	}
	tree["items.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: items}\ndata: {items: apples}\n")}
	result, err := newCompiler(b).Compile(context.Background(), tree)
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range result.Problems {
		b.Fatal(p)
	}
	in := planner.Input{
		Revision: api.Revision{Commit: "c1"}, Desired: result.Objects, Prune: true, ServiceCIDR: "10.96.0.0/12",
		Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	var nodes []scheduler.Node
	for i := range plannedNodes {
		name := fmt.Sprintf("node-%04d", i)
		labels := map[string]string{corev1.LabelHostname: name, corev1.LabelTopologyZone: "abc"[i%3 : i%3+1]}
		in.Nodes = append(in.Nodes, planner.Node{Name: name, Labels: labels})
		nodes = append(nodes, scheduler.Node{Name: name, Labels: labels, Allocatable: api.Resources{MilliCPU: 32_000, Memory: 64 << 30}, MaxPods: 110})
	}
	return in, nodes
}
