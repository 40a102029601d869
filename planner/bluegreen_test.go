package planner

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestBlueGreenServesOneTemplate takes random blue-green rollouts through random readiness, times, commits, drains and
// losses of all that is known: at no instant do connections go to two templates, a template that takes over is there as a
// whole, there are never more than twice the pods, and the available ones of what serves stay.
func TestBlueGreenServesOneTemplate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &blueGreen{T: t, world: newWorld(), replicas: rapid.IntRange(1, 6).Draw(t, "replicas")}
		b.commit(0)
		if _, err := b.settle(); err != nil {
			t.Fatal(err)
		}
		b.serving = b.step()
		for n := range rapid.IntRange(5, 40).Draw(t, "passes") {
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0:
				b.commit(rapid.IntRange(0, 2+n).Draw(t, "template"))
			case 1:
				b.Now = b.Now.Add(5 * time.Minute)
			case 2:
				what := rapid.SampledFrom([]string{"drained", "back"}).Draw(t, "node")
				if err := b.observeNode(&b.Nodes[0], []string{what}); err != nil {
					t.Fatal(err)
				}
			default:
				for i := range b.Pods {
					if rapid.Bool().Draw(t, "ready") && isLive(&b.Pods[i]) {
						b.ready(&b.Pods[i])
					}
				}
			}
			b.check(b.step())
		}
	})
}

// blueGreen is a world with one blue-green Deployment behind one service.
type blueGreen struct {
	*rapid.T
	*world
	replicas int
	serving  api.Digest // the template that the last plan routed to
}

func (b *blueGreen) commit(n int) {
	b.Helper()
	pause := rapid.SampledFrom([]string{"", "_0s", "_5m"}).Draw(b.T, "pause")
	d, err := parseObject(fmt.Sprintf("deployment web image=web:v%d replicas=%d surge=1 unavailable=0 rollout=blue-green%s", n, b.replicas, pause))
	if err != nil {
		b.Fatal(err)
	}
	s, err := parseObject("service web app=web")
	if err != nil {
		b.Fatal(err)
	}
	b.world.commit(fmt.Sprintf("c%d", n), []api.Object{d, s})
}

// step plans, checks that connections go to one template, carries the plan out, and gives that template; empty is none.
func (b *blueGreen) step() api.Digest {
	b.Helper()
	templates := map[string]api.Digest{}
	for i := range b.Pods {
		templates[b.Pods[i].UID] = b.Pods[i].Template
	}
	plan := b.compute()
	serving := b.serving
	for i, e := range plan.Routes[0].Endpoints {
		if i > 0 && templates[e.UID] != serving {
			b.Fatalf("connections go to templates %s and %s", serving, templates[e.UID])
		}
		serving = templates[e.UID]
	}
	if n := len(plan.Routes[0].Endpoints); serving != b.serving && b.serving != "" && n != b.replicas {
		b.Fatalf("%d of %d pods take over", n, b.replicas)
	}
	b.carryOut(plan)
	return serving
}

// check holds the pods against the limits, after a plan that routes to a template.
func (b *blueGreen) check(serving api.Digest) {
	b.Helper()
	b.serving = serving
	live, ready := 0, 0
	for i := range b.Pods {
		if pod := &b.Pods[i]; isLive(pod) {
			live++
			if pod.Ready && pod.Template == serving {
				ready++
			}
		}
	}
	if live > 2*b.replicas {
		b.Fatalf("%d pods run, of %d replicas", live, b.replicas)
	}
	if ready < b.replicas-1 { // one at a time may leave a machine that is drained
		b.Fatalf("%d pods of what serves are left, of %d replicas", ready, b.replicas)
	}
}
