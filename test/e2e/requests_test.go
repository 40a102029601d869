package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"headway.dev/headway/api"
)

// budgetManifest lets one front be taken away at a time. Its Deployment would let go two.
const budgetManifest = `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: front, namespace: shop}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: front}}
`

// drainManifest takes all pods off a machine.
const drainManifest = `
apiVersion: v1
kind: Node
metadata: {name: n2, annotations: {headway.dev/drain: "true"}}
spec: {unschedulable: true}
`

// TestNoRequestFails asks for pages steadily, each over a new connection, while commits change the template, drain a machine,
// take the template back and scale down. Of 10,000 requests none may fail, and the drain keeps to its budget at every instant.
func TestNoRequestFails(t *testing.T) {
	s := open(t)
	s.edit("front/front.cue", "replicas: 3", "replicas: 6\n\t\tminReadySeconds: 1\n\t\tstrategy: rollingUpdate: {maxSurge: 0, maxUnavailable: 2}")
	s.write("budget.yaml", budgetManifest)
	s.deploy("Six fronts, of which one may be missing")
	load, err := s.StartLoad(t.Context(), "n1", 10_000, "-every", "2ms")
	if err != nil {
		t.Fatal(err)
	}
	const replicas = 6
	watched := s.watchFront()

	s.edit("front/front.cue", `_version: "1.0"`, `_version: "1.1"`)
	s.edit("catalog.yaml", "shop/catalog:1.0", "shop/catalog:1.1")
	s.deploy("Change the images")
	watched.atLeast(t, "the rolling update", replicas-1)

	s.write("n2.yaml", drainManifest)
	s.commit("Drain n2")
	s.eventually("drain n2", func() string {
		for _, p := range s.pods() {
			if p.Placement.Node == "n2" {
				return p.Placement.Pod.Name + " is there"
			}
		}
		return ""
	})
	s.run("wait", "--for=ready", "--timeout", patience)
	watched.atLeast(t, "the drain", replicas-1)

	s.git("revert", "--no-edit", "HEAD~1")
	s.deploy("Take the images back")
	watched.atLeast(t, "the revert", replicas-1)

	s.edit("front/front.cue", "replicas: 6", "replicas: 2")
	s.deploy("Two fronts will do")
	s.eventually("scale down", func() string {
		if n := len(s.pids()); n != 5 {
			return fmt.Sprintf("%d containers run", n)
		}
		return ""
	})
	watched.atLeast(t, "scaling down", 2)
	s.stopLoad(load)
}

// A frontWatch knows how many fronts serve, by the two who know: the machines' reports, and the routes.
type frontWatch struct {
	mu    sync.Mutex
	ready map[string]int // by node
	now   counted
	least counted // since it was asked last
}

// counted are fronts: those that are ready, and those that connections are routed to.
type counted struct{ ready, routed int }

func (c counted) min(other counted) counted {
	return counted{min(c.ready, other.ready), min(c.routed, other.routed)}
}

// watchFront watches until the test ends.
func (s *stage) watchFront() *frontWatch {
	s.Helper()
	conn, err := s.Bus(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	w := &frontWatch{ready: map[string]int{}}
	ctx, cancel := context.WithCancel(s.Context())
	var watching sync.WaitGroup
	for what, watch := range map[string]func() error{
		"statuses": func() error { return conn.WatchStatuses(ctx, w.status) },
		"routes":   func() error { return conn.WatchRoutes(ctx, w.routes) },
	} {
		watching.Go(func() {
			if err := watch(); err != nil && !errors.Is(err, context.Canceled) {
				s.Errorf("watch %s: %v", what, err)
			}
		})
	}
	s.Cleanup(func() {
		cancel()
		watching.Wait()
		conn.Close()
	})
	s.eventually("watch the fronts", func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.ready) < 3 || w.now.routed == 0 {
			return fmt.Sprintf("heard of %v, %d are routed to", w.ready, w.now.routed)
		}
		w.least = w.now
		return ""
	})
	return w
}

func (w *frontWatch) status(status api.NodeStatus) {
	n := 0
	for _, p := range status.Pods {
		if p.Placement.Owner.Name == "front" && p.Ready {
			n++
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready[status.Node] = n
	w.now.ready = 0
	for _, n := range w.ready {
		w.now.ready += n
	}
	w.least = w.least.min(w.now)
}

func (w *frontWatch) routes(table api.RouteTable) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range table.Routes {
		if r.Service.Name == "front" {
			w.now.routed = len(r.Endpoints)
		}
	}
	w.least = w.least.min(w.now)
}

// atLeast asserts how many fronts there were at every instant since it was called last.
func (w *frontWatch) atLeast(t *testing.T, during string, want int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("during %s at least %d fronts were ready, and %d routed to", during, w.least.ready, w.least.routed)
	if w.least.ready < want || w.least.routed < want {
		t.Errorf("during %s only %d fronts were ready, and %d routed to, at one time: want %d", during, w.least.ready, w.least.routed, want)
	}
	w.least = w.now
}
