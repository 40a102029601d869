package e2e_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headway.dev/headway/api"
	"headway.dev/headway/test/cluster"
)

// offersURL is the service of the examples of rollouts in steps.
const offersURL = "http://10.96.0.85/items"

// openOffers makes a cluster that runs one of the examples of rollouts in steps.
func openOffers(t *testing.T, example string) *stage {
	t.Helper()
	s := start(t, cluster.Options{Nodes: 3, Manifests: os.DirFS(filepath.Join("..", "..", "examples", example, "manifests"))})
	s.deploy("Make an offer")
	return s
}

// TestCanary takes a new template through the steps of the example, of which the first two last until commits promote them,
// and another that lasts for a time. The shares of connections are measured.
func TestCanary(t *testing.T) {
	s := openOffers(t, "canary")
	s.edit("offers.yaml", "50% 5m", "50%, 80% 1s")
	s.deploy("Look once more, and for a shorter time")
	before := s.pids()

	s.edit("offers.yaml", "10% off", "20% off")
	change := s.commit("Offer more")
	name := api.ShortCommit(change)
	s.told("step 1 of 3, 10%, until a commit sets headway.dev/promote to " + name + "/1")
	s.share("20% off", 3000, 0.1)

	s.edit("offers.yaml", "headway.dev/rollout:", "headway.dev/promote: "+name+"/1\n    headway.dev/rollout:")
	s.commit("Promote it")
	s.told("step 2 of 3, 50%, since headway.dev/promote: " + name + "/1 ends step 1")
	s.told("step 2 of 3, 50%, until a commit sets headway.dev/promote to " + name + "/2")
	s.share("20% off", 1000, 0.5)

	s.edit("offers.yaml", name+"/1", name+"/2")
	s.commit("Promote it further")
	s.told("all steps are done, since the 1s of step 3 are over")
	s.run("wait", "--for=ready", "--timeout", patience)
	after := s.pids()
	for container := range before {
		if after[container] != 0 {
			t.Errorf("container %s is of the old template and runs on", container)
		}
	}
	s.share("20% off", 100, 1)
}

// told waits for an event of a step.
func (s *stage) told(reason string) {
	s.Helper()
	s.eventually("tell of "+reason, func() string {
		out := s.run("events", "--for", "deployment/offers")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "RolloutStep") && strings.Contains(line, reason) {
				return ""
			}
		}
		return "told is\n" + out
	})
}

// share asserts that an offer is made to a share of new connections, within five standard deviations: chance alone is
// further off once in two million times.
func (s *stage) share(offer string, connections int, want float64) {
	s.Helper()
	sum := s.visit("n1", offersURL, connections)
	n := float64(connections)
	off := math.Abs(float64(sum.Offers[offer]) - n*want)
	s.Logf("%d of %d connections got %s", sum.Offers[offer], connections, offer)
	if most := 5 * math.Sqrt(n*want*(1-want)); off > most {
		s.Errorf("%v of %d connections: want %v, give or take %.0f", sum.Offers, connections, n*want, most)
	}
}
