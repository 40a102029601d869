package planner

import (
	"fmt"
	"testing"

	"headway.dev/headway/api"
)

// fleetOf is a world at rest in which deployments run pods, one service in front of each.
func fleetOf(b *testing.B, deployments, replicas int, image string) *world {
	b.Helper()
	w := newWorld()
	w.ServiceCIDR = "10.96.0.0/12"
	w.commit("c1", declare(b, deployments, replicas, image))
	for range 2 {
		w.carryOut(Compute(w.Input))
		for i := range w.Pods {
			w.ready(&w.Pods[i])
		}
	}
	return w
}

func declare(b *testing.B, deployments, replicas int, image string) []api.Object {
	b.Helper()
	var objects []api.Object
	for i := range deployments {
		for _, line := range []string{
			fmt.Sprintf("deployment web%04d image=%s replicas=%d config=settings", i, image, replicas),
			fmt.Sprintf("service web%04d app=web%04d target=http", i, i),
		} {
			o, err := parseObject(line)
			if err != nil {
				b.Fatal(err)
			}
			objects = append(objects, o)
		}
	}
	o, err := parseObject("configmap settings mode=slow")
	if err != nil {
		b.Fatal(err)
	}
	return append(objects, o)
}

// BenchmarkCompute plans a fleet of 100,000 pods: at rest, and the first step of changing every template.
func BenchmarkCompute(b *testing.B) {
	for _, deployments := range []int{1, 1000, 10_000} {
		w := fleetOf(b, deployments, 100_000/deployments, "web:v1")
		b.Run(fmt.Sprintf("100000 pods of %d deployments at rest", deployments), func(b *testing.B) {
			for b.Loop() {
				if plan := Compute(w.Input); len(plan.Actions) > 0 {
					b.Fatalf("%d actions", len(plan.Actions))
				}
			}
		})
		w.commit("c2", declare(b, deployments, 100_000/deployments, "web:v2"))
		b.Run(fmt.Sprintf("100000 pods of %d deployments changed", deployments), func(b *testing.B) {
			for b.Loop() {
				if plan := Compute(w.Input); len(plan.Actions) == 0 {
					b.Fatal("nothing to do")
				}
			}
		})
	}
}

// BenchmarkRehearse rolls every pod of a fleet.
func BenchmarkRehearse(b *testing.B) {
	w := fleetOf(b, 100, 20, "web:v1")
	w.commit("c2", declare(b, 100, 20, "web:v2"))
	for b.Loop() {
		if _, err := Rehearse(w.Input); err != nil {
			b.Fatal(err)
		}
	}
}
