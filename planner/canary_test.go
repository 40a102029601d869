package planner

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestCanaryKeepsItsLimits takes random canaries through random readiness and commits: at no instant are there more pods than
// replicas and surge, at a step no more new ones than its share, and the weights of a service are those of the step.
func TestCanaryKeepsItsLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		replicas := rapid.IntRange(1, 12).Draw(t, "replicas")
		surge := rapid.IntRange(1, 4).Draw(t, "surge")
		w := newWorld()
		commit := func(n int) {
			d, err := parseObject(fmt.Sprintf("deployment web image=web:v%d replicas=%d surge=%d unavailable=0 canary=10%%_5m,40%%_5m,70%%", n, replicas, surge))
			if err != nil {
				t.Fatal(err)
			}
			s, err := parseObject("service web app=web")
			if err != nil {
				t.Fatal(err)
			}
			w.commit(fmt.Sprintf("c%d", n), []api.Object{d, s})
		}
		commit(0)
		if _, err := w.settle(); err != nil {
			t.Fatal(err)
		}
		for n := range rapid.IntRange(5, 40).Draw(t, "passes") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				commit(1 + n)
			case 1:
				w.Now = w.Now.Add(5 * time.Minute)
			default:
				for i := range w.Pods {
					if rapid.Bool().Draw(t, "ready") && isLive(&w.Pods[i]) {
						w.ready(&w.Pods[i])
					}
				}
			}
			plan := w.compute()
			checkWeights(t, w, plan)
			w.carryOut(plan)
			live, fresh, available := 0, 0, 0
			for i := range w.Pods {
				pod := &w.Pods[i]
				if !isLive(pod) {
					continue
				}
				live++
				if pod.Ready {
					available++
				}
				if pod.Template == plan.Workloads[0].Template {
					fresh++
				}
			}
			if live > replicas+surge || available < replicas {
				t.Fatalf("%d pods run and %d are available, of %d replicas and %d more", live, available, replicas, surge)
			}
			if c := plan.Workloads[0].Canary; c != nil && c.Step <= 3 {
				if most := share([]api.Percent{10, 40, 70}[c.Step-1], replicas); fresh > most {
					t.Fatalf("%d pods are new at step %d, which has %d", fresh, c.Step, most)
				}
			}
		}
	})
}

// checkWeights adds up the weights of the new and the old endpoints.
func checkWeights(t *rapid.T, w *world, plan Plan) {
	c := plan.Workloads[0].Canary
	if c == nil || c.Weight == 0 {
		return
	}
	fresh, all, others := 0, 0, false
	for _, e := range plan.Routes[0].Endpoints {
		pod := Pod{}
		for i := range w.Pods {
			if w.Pods[i].UID == e.UID {
				pod = w.Pods[i]
			}
		}
		all += int(e.Share())
		if pod.Template == plan.Workloads[0].Template {
			fresh += int(e.Share())
		} else {
			others = true
		}
	}
	if fresh == 0 || !others {
		return // there is nothing to share
	}
	if want := all * int(c.Weight) / 100; fresh < want-100 || fresh > want+100 { // rounding, of millions
		t.Fatalf("the new pods weigh %d of %d at %s", fresh, all, c.Weight)
	}
}
