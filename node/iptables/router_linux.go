package iptables

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// Options say how a node programs its services.
type Options struct {
	Node        string       // its name
	PodCIDR     netip.Prefix // as in Config
	ClusterCIDR netip.Prefix
	ServiceCIDR netip.Prefix
	Bridge      string
	Backend     string       // nft or legacy; empty is the one that the iptables command has
	Logger      *slog.Logger // nil discards
}

// A Router keeps the kernel's rules as the routes have them, in the network namespace of the thread that calls it.
//
// It verifies what the kernel has at each Apply, before it relies on it. It does so by the kernel's stamp: as long as that
// is the one that the last Apply left, nobody has changed any rule, and nothing is read. When it is another, all rules are
// read, and the difference repairs what others did to ours.
type Router struct {
	config         Config
	backend, other backend
	log            *slog.Logger

	mu      sync.Mutex
	known   ruleset // what the kernel has if its stamp is this one
	stamp   stamp
	udp     *udpServices // of the last table applied; nil before the first
	left    []string     // of the last table applied: what could not be written
	applied *api.RouteTable
	hosts   []node.HostPort
	// hostsKnown is false until the ports of pods have been told: those that the kernel has stay.
	hostsKnown bool
	// services are the rules of the last table applied, without those that isolate pods; nil before the first.
	services ruleset
	isolated []node.IsolatedPod
	// isolatedKnown is false until the isolated pods have been told: the rules that the kernel has stay.
	isolatedKnown bool
	// drift is what differed when the kernel's stamp was drifted.
	drifted stamp
	drift   []string
}

// Open chooses the back end. It changes nothing in the kernel.
func Open(o Options) (*Router, error) {
	config := Config{Node: o.Node, PodCIDR: o.PodCIDR, ClusterCIDR: o.ClusterCIDR, ServiceCIDR: o.ServiceCIDR, Bridge: o.Bridge}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("services of node %s: %w", o.Node, err)
	}
	chosen, other, err := choose(o.Backend)
	if err != nil {
		return nil, fmt.Errorf("services of node %s: %w", o.Node, err)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Router{config: config, backend: chosen, other: other, log: log}, nil
}

// Backend is nft or legacy.
func (r *Router) Backend() string { return r.backend.name }

// Apply makes the kernel's rules those of the table. What of the table cannot be written as a rule is logged and left out.
func (r *Router) Apply(ctx context.Context, table api.RouteTable) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apply(ctx, table)
}

// SetHostPorts makes the ports of the node lead to its pods: these, and no others. Before the first table is applied they
// are only noted.
func (r *Router) SetHostPorts(ctx context.Context, ports []node.HostPort) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hostsKnown && slices.Equal(ports, r.hosts) {
		return nil
	}
	r.hosts, r.hostsKnown = slices.Clone(ports), true
	if r.applied == nil {
		return nil
	}
	if err := r.apply(ctx, *r.applied); err != nil {
		r.hostsKnown = false // the same ports are tried again
		return err
	}
	return nil
}

// Isolate makes these the pods that are isolated, and no others. It needs no table: services stay as they are.
func (r *Router) Isolate(ctx context.Context, pods []node.IsolatedPod) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isolated, r.isolatedKnown = slices.Clone(pods), true
	if _, err := r.settle(ctx); err != nil {
		return fmt.Errorf("isolation of pods: %w", err)
	}
	return nil
}

func (r *Router) apply(ctx context.Context, table api.RouteTable) error {
	ports, left := servicePorts(r.config, table)
	in, taken := newEntrances(r.config, ports, r.hosts)
	r.report(append(left, taken...))
	r.services = build(r.config, ports, in)
	first := r.udp == nil
	if first {
		if err := r.remove(ctx, r.other); err != nil {
			return fmt.Errorf("services: rules of the other back end: %w", err)
		}
	}
	repaired, err := r.settle(ctx)
	if err != nil {
		return fmt.Errorf("services: %w", err)
	}
	udp := udpServicesOf(ports, r.hosts)
	if first || repaired || r.udp.stale(udp) {
		if err := udp.forgetStale(r.config); err != nil {
			return fmt.Errorf("services: %w", err)
		}
	}
	r.udp, r.applied = udp, &table
	return nil
}

// settle brings the kernel from what it has to what is wanted. It says whether it had to read what the kernel has.
func (r *Router) settle(ctx context.Context) (read bool, err error) {
	if read, err = r.reconcile(ctx); err != nil {
		// Others may have changed what the difference was made for while it was made.
		r.stamp = stamp{}
		read, err = r.reconcile(ctx)
	}
	return read, err
}

// want gives the rules that the kernel should have. What is not known yet is to stay as the kernel has it.
func (r *Router) want(have ruleset) ruleset {
	services := r.services
	if services == nil {
		services = have
	} else if !r.hostsKnown {
		keepHostPorts(r.config, have["nat"], services["nat"])
	}
	filter := services["filter"].withoutIsolation()
	if r.isolatedKnown {
		filter.isolate(r.config, r.isolated)
	} else {
		keepIsolation(have["filter"], filter)
	}
	return ruleset{"filter": filter, "nat": services["nat"]}
}

func (r *Router) reconcile(ctx context.Context) (read bool, err error) {
	before, err := r.backend.stamp()
	if err != nil {
		return false, err
	}
	if before != r.stamp || r.stamp == (stamp{}) {
		read = true
		if r.known, err = r.backend.read(ctx); err != nil {
			return read, err
		}
	}
	have := r.known
	want := r.want(have)
	r.known, r.stamp = nil, stamp{} // until all has gone well nothing is known
	inputs := difference(have, want, r.backend.prepare)
	transactions := 0
	for _, input := range inputs {
		if err := r.backend.load(ctx, input); err != nil {
			return read, err
		}
		transactions += bytes.Count(input, []byte("COMMIT\n"))
	}
	after, err := r.backend.stamp()
	if err != nil {
		return read, err
	}
	if r.backend.counts && after != before.plus(transactions) {
		return read, nil // somebody else was at it too: the next Apply reads
	}
	r.known, r.stamp = want, after
	return read, nil
}

// report logs what was left out, once.
func (r *Router) report(left []string) {
	if slices.Equal(left, r.left) {
		return
	}
	for _, what := range left {
		r.log.Warn("a part of the routes cannot be programmed", "what", what)
	}
	r.left = left
}

// Cleanup removes every chain of ours and the jumps to them, from both back ends.
func (r *Router) Cleanup(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.stamp, r.udp, r.applied, r.hosts, r.hostsKnown = nil, stamp{}, nil, nil, nil, false
	r.services, r.isolated, r.isolatedKnown = nil, nil, false
	for _, b := range []backend{r.backend, r.other} {
		if err := r.remove(ctx, b); err != nil {
			return fmt.Errorf("remove the rules of services: %w", err)
		}
	}
	return nil
}

// remove takes all of ours out of a back end.
func (r *Router) remove(ctx context.Context, b backend) error {
	if !b.inUse() {
		return nil
	}
	have, err := b.read(ctx)
	if err != nil || have.empty() {
		return err
	}
	for _, input := range difference(have, newRuleset(), b.prepare) {
		if err := b.load(ctx, input); err != nil {
			return err
		}
	}
	return nil
}
