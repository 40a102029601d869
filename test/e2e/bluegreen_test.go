package e2e_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"headway.dev/headway/api"
)

// TestBlueGreen makes a new set of pods beside the old one, and has a commit give it all connections at once. No routes ever
// lead to both sets, and no request fails.
func TestBlueGreen(t *testing.T) {
	s := openOffers(t, "blue-green")
	routed := s.watchOffers()
	load, err := s.StartLoad(t.Context(), "n2", 500, "-url", offersURL, "-every", "5ms")
	if err != nil {
		t.Fatal(err)
	}
	s.edit("offers.yaml", "10% off", "20% off")
	change := s.commit("Offer more")
	promotion := "headway.dev/promote: " + api.ShortCommit(change)
	s.told("step 1 of 1, beside the old pods and without connections, until a commit sets headway.dev/promote to " + api.ShortCommit(change))
	if n := len(s.pods()); n != 6 {
		t.Errorf("%d pods are there, want all twice", n)
	}
	s.share("20% off", 200, 0)

	s.edit("offers.yaml", "headway.dev/rollout:", promotion+"\n    headway.dev/rollout:")
	s.commit("Promote it")
	s.told("all connections go to the new pods and the old ones end, since " + promotion)
	s.run("wait", "--for=ready", "--timeout", patience)
	s.pids() // the old pods are gone, and so every node has the routes without them
	s.share("20% off", 200, 1)
	s.stopLoad(load)

	for _, sets := range routed() {
		if strings.Contains(sets, " ") {
			t.Errorf("routes led to more than one set of pods at one time: %s", sets)
		}
	}
}

// watchOffers watches the routes of the offers. What it returns gives the sets of pods that they have led to at one time each,
// by the parts of their names that stand for the template.
func (s *stage) watchOffers() func() []string {
	s.Helper()
	conn, err := s.Bus(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() {
		done <- conn.WatchRoutes(ctx, func(table api.RouteTable) {
			sets := map[string]bool{}
			for _, r := range table.Routes {
				for _, e := range r.Endpoints {
					sets[e.Pod.Name[:strings.LastIndex(e.Pod.Name, "-")]] = true
				}
			}
			mu.Lock()
			defer mu.Unlock()
			seen[strings.Join(slices.Sorted(maps.Keys(sets)), " ")] = true
		})
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			s.Errorf("watch the routes: %v", err)
		}
		conn.Close()
	})
	s.Cleanup(stop)
	return func() []string {
		stop()
		if len(seen) < 2 {
			s.Errorf("the routes have led to %v alone", seen)
		}
		return slices.Collect(maps.Keys(seen))
	}
}
