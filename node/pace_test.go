package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/fakehost"
)

// TestStatusesArePaced starts many pods at once: their statuses are told together, and the last as soon as it may be.
func TestStatusesArePaced(t *testing.T) {
	bubble(t, fakehost.Options{Latency: map[string]time.Duration{"Start": 3 * time.Millisecond}}, func(w *world) {
		w.template("web", simple("web"), nil)
		const pause, burst = 50 * time.Millisecond, 8
		w.startBy(func(c *node.Config) { c.StatusBurst = burst })
		pass(time.Second)
		var pods []string
		for i := range 100 {
			pods = append(pods, fmt.Sprintf("p%d:web", i))
		}
		puts, began := len(w.bus.statuses), time.Now()
		w.assign(1, 1, "c1", pods...)
		running := func() bool {
			all := w.bus.lastStatus().Pods
			return len(all) == len(pods) && !slices.ContainsFunc(all, func(p api.PodStatus) bool { return !p.Ready })
		}
		for !running() {
			pass(time.Millisecond)
			if time.Since(began) > time.Minute {
				w.Fatal("they are not said to be ready")
			}
		}
		took := time.Since(began)
		if most, n := burst+1+int(took/pause), len(w.bus.statuses)-puts; n > most || n < burst {
			w.Errorf("%d statuses in %v, want %d at most", n, took, most)
		}
		// One alone waits for nothing.
		pass(time.Second)
		w.host.Exit("u-p0.web.0", 1)
		pass(time.Nanosecond)
		if running() {
			w.Error("after a pause a status was held back")
		}
	})
}

// TestFewAreToldAtOnce: where there are few pods, none of many changes waits for another's status.
func TestFewAreToldAtOnce(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.template("web", simple("web"), nil)
		w.startBy(func(c *node.Config) { c.StatusBurst = 8 })
		pass(time.Second)
		for i := range uint64(20) {
			name := fmt.Sprintf("p%d", i)
			w.assign(1, i+1, "c1", name+":web")
			pass(5 * time.Millisecond)
			if !slices.ContainsFunc(w.bus.lastStatus().Pods, func(p api.PodStatus) bool { return p.Placement.Pod.Name == name && p.Ready }) {
				w.Fatalf("pod %s is not said to be ready after 5 ms", name)
			}
		}
	})
}
