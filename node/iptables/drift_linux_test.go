package iptables

import (
	"context"
	"slices"
	"testing"

	"headway.dev/headway/internal/testnet"
	"headway.dev/headway/node"
)

var _ node.RuleKeeper = (*Router)(nil)

// TestDrift has somebody else delete a rule, a jump and a whole chain: it is found without being touched, and repaired on request.
func TestDrift(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		t.Run(backend, func(t *testing.T) {
			r, ns := openRouter(t, backend), testnet.New(t)
			drift := func(want ...string) {
				t.Helper()
				ns.Must(t, func() error {
					found, err := r.Drift(context.Background())
					if err == nil && !slices.Equal(found, want) {
						t.Errorf("drift %q, want %q", found, want)
					}
					return err
				})
			}
			drift() // nothing was given yet
			ns.Must(t, func() error { return r.Apply(context.Background(), tableOf(2, 2)) })
			drift()
			// What is not ours is nobody's drift.
			ns.Run(t, "", "iptables-"+backend, "-t", "filter", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP")
			drift()

			service := ""
			for chain := range r.services["nat"].chains {
				if len(chain) > len(servicePrefix) && chain[:len(servicePrefix)] == servicePrefix && (service == "" || chain < service) {
					service = chain
				}
			}
			jump := r.services["nat"].jumps["PREROUTING"]
			if service == "" || len(jump) == 0 {
				t.Fatalf("there is nothing to tamper with:\n%s", r.services.bytes())
			}
			ns.Run(t, "", "iptables-"+backend, "-t", "nat", "-F", service)
			drift("nat " + service)
			drift("nat " + service) // looking changes nothing
			ns.Run(t, "", "iptables-"+backend, "-t", "nat", "-D", "PREROUTING", "1")
			drift("nat "+service, "nat PREROUTING")
			ns.Must(t, func() error { return r.Repair(context.Background()) })
			drift()
			ns.Must(t, func() error {
				have, err := r.backend.read(context.Background())
				if err == nil {
					if left := differing(have, r.want(have)); len(left) > 0 {
						t.Errorf("repaired, and still %q differ", left)
					}
				}
				return err
			})
		})
	}
}
