package node

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// An IsolatedPod is a pod of the machine that not everything may come to, or go out from.
type IsolatedPod struct {
	IP netip.Addr
	// Ingress is what may come to the pod, and Egress what may go out from it; nil is everything.
	Ingress, Egress *api.Allowed
}

// An Isolator is a Router that can filter what comes to pods and goes out from them.
type Isolator interface {
	// Isolate makes these the pods that are isolated, and no others. When it returns without error, every new connection
	// follows it. Until it is first called, the kernel keeps the rules that it has.
	Isolate(ctx context.Context, pods []IsolatedPod) error
}

// isolations joins what assignments say of pods' isolation with the addresses that pods have here. A pod is told by its
// UID, so that its rules can be in force before anybody else knows its address, and before anything of it runs.
type isolations struct {
	router Isolator // nil: the machine's router cannot
	change signal   // the kernel may be behind

	mu     sync.Mutex
	known  bool // some assignment is: before, the kernel's rules stay
	rules  map[string]isolationRules
	owners map[netip.Addr]string // UIDs of pods by the addresses that they have

	applying chan struct{} // has a place while nobody changes the kernel
	applied  []IsolatedPod
	inForce  bool // applied is what the kernel has
}

type isolationRules struct{ ingress, egress *api.Allowed }

func newIsolations(router Router) *isolations {
	i := &isolations{change: newSignal(), rules: map[string]isolationRules{}, owners: map[netip.Addr]string{}, applying: make(chan struct{}, 1)}
	i.router, _ = router.(Isolator)
	return i
}

// follow takes in an assignment, and gives what isolates the pods from now on: what it says, and of what it says nothing
// that may be believed, what was said before. That is so of pods that end, which are not opened for their end, and where
// the controller does not know all policies.
func (i *isolations) follow(a api.Assignment, present func(uid string) bool) *api.Isolation {
	i.mu.Lock()
	defer i.mu.Unlock()
	next, partial := map[string]isolationRules{}, false
	if a.Isolation != nil {
		partial = a.Isolation.Partial
		for _, group := range a.Isolation.Pods {
			for _, uid := range group.UIDs {
				next[uid] = isolationRules{group.Ingress, group.Egress}
			}
		}
	}
	assigned := map[string]bool{}
	for _, p := range a.Pods {
		assigned[p.UID] = true
	}
	for uid, before := range i.rules {
		now, told := next[uid]
		switch {
		case partial && (assigned[uid] || present(uid)):
			if now.ingress == nil {
				now.ingress = before.ingress
			}
			if now.egress == nil {
				now.egress = before.egress
			}
			next[uid] = now
		case !told && !assigned[uid] && present(uid):
			next[uid] = before
		}
	}
	i.rules, i.known = next, true
	i.change.set()
	return isolationOf(next)
}

// isolationOf writes the rules down as an assignment has them.
func isolationOf(rules map[string]isolationRules) *api.Isolation {
	if len(rules) == 0 {
		return nil
	}
	groups := map[isolationRules]int{}
	table := &api.Isolation{}
	for _, uid := range slices.Sorted(maps.Keys(rules)) {
		r := rules[uid]
		at, ok := groups[r]
		if !ok {
			at = len(table.Pods)
			groups[r] = at
			table.Pods = append(table.Pods, api.IsolatedPods{Ingress: r.ingress, Egress: r.egress})
		}
		table.Pods[at].UIDs = append(table.Pods[at].UIDs, uid)
	}
	return table
}

// note takes in which address a pod has.
func (i *isolations) note(uid string, ip netip.Addr) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.drop(uid)
	i.owners[ip] = uid
}

// hold takes in which address a pod has, and returns when the kernel isolates the pod as it must: nothing of the pod may
// run before.
func (i *isolations) hold(ctx context.Context, uid string, ip netip.Addr) error {
	i.note(uid, ip)
	if err := i.apply(ctx); err != nil {
		return fmt.Errorf("isolate the pod's address %s, without which it is not started: %w", ip, err)
	}
	return nil
}

// leave takes in that a pod has no address any more.
func (i *isolations) leave(uid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.drop(uid)
	i.change.set()
}

// drop forgets the pod's address, unless another pod has it already.
func (i *isolations) drop(uid string) {
	maps.DeleteFunc(i.owners, func(_ netip.Addr, owner string) bool { return owner == uid })
}

// pods are those that are isolated and have an address, ordered by it.
func (i *isolations) pods() (pods []IsolatedPod, known bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for ip, uid := range i.owners {
		if r := i.rules[uid]; r.ingress != nil || r.egress != nil {
			pods = append(pods, IsolatedPod{IP: ip, Ingress: r.ingress, Egress: r.egress})
		}
	}
	slices.SortFunc(pods, func(a, b IsolatedPod) int { return a.IP.Compare(b.IP) })
	return pods, i.known
}

// apply brings the kernel up to date.
func (i *isolations) apply(ctx context.Context) error {
	select {
	case i.applying <- struct{}{}:
		defer func() { <-i.applying }()
	case <-ctx.Done():
		return ctx.Err()
	}
	pods, known := i.pods()
	switch {
	case !known || i.inForce && equalIsolated(pods, i.applied):
		return nil
	case i.router == nil && len(pods) == 0:
		return nil
	case i.router == nil:
		return fmt.Errorf("network policies isolate %d pods, and this node's router cannot filter", len(pods))
	}
	i.inForce = false
	if err := i.router.Isolate(ctx, pods); err != nil {
		return err
	}
	i.applied, i.inForce = pods, true
	return nil
}

// equalIsolated compares by what is pointed to, which most often is the same.
func equalIsolated(a, b []IsolatedPod) bool {
	return slices.EqualFunc(a, b, func(a, b IsolatedPod) bool { return a == b || reflect.DeepEqual(a, b) })
}

// restoreIsolation takes in all that is known of the pods on the machine before any of them moves, so that the kernel
// goes from the rules that it has to those that it should have, and never by none. The agent is locked.
func (a *Agent) restoreIsolation(inv inventory) {
	for _, uid := range inv.uids {
		text := inv.ips[uid]
		if r := inv.records[uid]; text == "" && r != nil && !r.Cleared {
			text = r.IP
		}
		if ip, err := netip.ParseAddr(text); err == nil {
			a.isolations.note(uid, ip)
		}
	}
	if a.assignment != nil {
		a.isolations.follow(*a.assignment, func(string) bool { return false })
	}
}

// isolate keeps pods isolated as assignments say, until ctx is done.
func (a *Agent) isolate(ctx context.Context) {
	a.isolations.run(ctx, a.complain("isolate the pods"))
}

// run keeps the kernel's rules those of the newest assignment, until ctx is done.
func (i *isolations) run(ctx context.Context, complain func(error, time.Duration)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.change:
		}
		_ = persist(ctx, stepSchedule, complain, i.apply)
	}
}
