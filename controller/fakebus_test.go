package controller

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// A level is a value that watchers follow: each gets the newest, and may miss those before it.
type level[T any] struct {
	mu      sync.Mutex
	value   T
	known   bool
	changed chan struct{}
}

func (l *level[T]) set(value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.known = value, true
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *level[T]) get() (value T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value, l.known
}

func (l *level[T]) watch(ctx context.Context, fn func(T)) error {
	for {
		l.mu.Lock()
		value, ok := l.value, l.known
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if ok {
			fn(value)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// fakeBus is a bus in memory, with its store. It takes only what real nodes would: assignments and routes of the newest
// term, and pods whose templates are in the store.
type fakeBus struct {
	mu          sync.Mutex
	term        api.Term
	nodes       map[string]api.NodeInfo
	assignments map[string]api.Assignment
	statuses    map[string]api.NodeStatus
	acks        map[string]api.Ack
	routes      map[api.Ref]api.Route
	revision    uint64
	complete    bool
	blobs       map[api.Digest][]byte
	blobTerms   map[api.Digest]api.Term // by which leader they were written
	report      *api.Report
	events      []api.Event
	writes      []string            // all that was written, in order
	faults      map[string]int      // how many of the next writes of a kind fail
	overwritten string              // the next write of this kind is over what somebody else has written
	turn        level[int]          // changes with everything
	beats       func(api.Heartbeat) // the leader's watch of heartbeats
	grants      []api.Grant         // the leader's answers
	lease       chan struct{}       // holds a token while nobody leads
	depose      context.CancelFunc  // ends the present leader's rule
	misdeeds    []string            // what no controller should do
	left        map[podKey]uint64   // when pods left the routes
	timedOut    map[api.Ref]bool    // pods whose drain the controller gave up
}

// overwrittenError is what package bus says of a write over what its leader has not read.
type overwrittenError struct{}

func (overwrittenError) Error() string     { return "somebody else has written there since" }
func (overwrittenError) Overwritten() bool { return true }

func newFakeBus() *fakeBus {
	b := &fakeBus{lease: make(chan struct{}, 1), faults: map[string]int{}}
	b.lease <- struct{}{}
	b.lose()
	return b
}

// lose empties the whole store.
func (b *fakeBus) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.term, b.revision, b.complete, b.report, b.events = 0, 0, false, nil, nil
	b.blobTerms = map[api.Digest]api.Term{}
	b.left, b.timedOut = map[podKey]uint64{}, map[api.Ref]bool{}
	b.nodes, b.assignments, b.statuses = map[string]api.NodeInfo{}, map[string]api.Assignment{}, map[string]api.NodeStatus{}
	b.acks, b.routes, b.blobs = map[string]api.Ack{}, map[api.Ref]api.Route{}, map[api.Digest][]byte{}
}

// write makes a change of the store, unless a fault of its kind is due.
func (b *fakeBus) write(kind, what string, change func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faults[kind] > 0 {
		b.faults[kind]--
		return fmt.Errorf("fault injected into %s", kind)
	}
	if b.overwritten == kind {
		b.overwritten = ""
		return fmt.Errorf("write: %w", overwrittenError{})
	}
	if err := change(); err != nil {
		return err
	}
	if what != "" {
		b.writes = append(b.writes, what)
	}
	turn, _ := b.turn.get()
	b.turn.set(turn + 1)
	return nil
}

func (b *fakeBus) Lead(ctx context.Context, _ string, _ time.Duration, lead func(context.Context, Lease) error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-b.lease:
	}
	defer func() { b.lease <- struct{}{} }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.mu.Lock()
	b.term++
	b.depose = cancel
	lease := &fakeLease{bus: b, term: b.term}
	b.mu.Unlock()
	return lead(ctx, lease)
}

// fakeLease is the lease of one leader.
type fakeLease struct {
	bus  *fakeBus
	term api.Term
}

func (l *fakeLease) Term() api.Term { return l.term }

func (l *fakeLease) Held() bool { return true }

func (l *fakeLease) Raise(_ context.Context, above api.Term) error {
	l.bus.mu.Lock()
	defer l.bus.mu.Unlock()
	l.term = max(l.term, above+1)
	l.bus.term = l.term
	return nil
}

// Objects reads what the fake desk of a scene, or the real one, has written.
func (b *fakeBus) Objects(_ context.Context, digest api.Digest) ([]api.Object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return api.DecodeObjects(b.blobs[digest])
}

// Template reads what a leader has written.
func (b *fakeBus) Template(_ context.Context, digest api.Digest) (*api.PodTemplate, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.blobs[digest]
	if !ok {
		return nil, errors.New("there is no such blob")
	}
	return api.DecodeTemplate(data)
}

// Blobs lists what leaders have written.
func (b *fakeBus) Blobs(context.Context) ([]api.Digest, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.blobs)), nil
}

func (b *fakeBus) State(context.Context) (State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faults["state"] > 0 {
		b.faults["state"]--
		return State{}, errors.New("fault injected into state")
	}
	var s State
	if b.complete {
		s.RouteRevision = b.revision
	}
	for _, name := range slices.Sorted(maps.Keys(b.nodes)) {
		s.Nodes = append(s.Nodes, b.nodes[name])
	}
	for _, name := range slices.Sorted(maps.Keys(b.assignments)) {
		s.Assignments = append(s.Assignments, b.assignments[name])
	}
	for _, name := range slices.Sorted(maps.Keys(b.statuses)) {
		s.Statuses = append(s.Statuses, b.statuses[name])
	}
	for _, ref := range slices.SortedFunc(maps.Keys(b.routes), api.Ref.Compare) {
		s.Routes = append(s.Routes, b.routes[ref])
	}
	if b.report != nil {
		r := *b.report
		s.Report = &r
	}
	return s, nil
}

// follow calls fn under the lock whenever anything changes.
func (b *fakeBus) follow(ctx context.Context, fn func() func()) error {
	return b.turn.watch(ctx, func(int) {
		b.mu.Lock()
		deliver := fn()
		b.mu.Unlock()
		deliver()
	})
}

func (b *fakeBus) WatchNodes(ctx context.Context, fn func([]api.NodeInfo)) error {
	return b.follow(ctx, func() func() {
		var nodes []api.NodeInfo
		for _, name := range slices.Sorted(maps.Keys(b.nodes)) {
			nodes = append(nodes, b.nodes[name])
		}
		return func() { fn(nodes) }
	})
}

func (b *fakeBus) WatchStatuses(ctx context.Context, fn func(api.NodeStatus)) error {
	return b.follow(ctx, func() func() {
		all := maps.Clone(b.statuses)
		return func() {
			for _, name := range slices.Sorted(maps.Keys(all)) {
				fn(all[name])
			}
		}
	})
}

func (b *fakeBus) WatchAcks(ctx context.Context, fn func(api.Ack)) error {
	return b.follow(ctx, func() func() {
		all := maps.Clone(b.acks)
		return func() {
			for _, ack := range all {
				fn(ack)
			}
		}
	})
}

func (b *fakeBus) WatchBeats(ctx context.Context, fn func(api.Heartbeat)) error {
	b.mu.Lock()
	b.beats = fn
	b.mu.Unlock()
	<-ctx.Done()
	b.mu.Lock()
	b.beats = nil
	b.mu.Unlock()
	return ctx.Err()
}

func (b *fakeBus) Answer(_ context.Context, g api.Grant) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grants = append(b.grants, g)
	return nil
}

func (b *fakeBus) beat(beat api.Heartbeat) {
	b.mu.Lock()
	fn := b.beats
	b.mu.Unlock()
	if fn != nil {
		fn(beat)
	}
}

func (b *fakeBus) PutBlob(_ context.Context, digest api.Digest, data []byte) error {
	return b.write("blob", "", func() error {
		if sum := sha256.Sum256(data); string(digest) != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("blob %s has other content", digest)
		}
		if b.blobTerms[digest] == b.term {
			b.misdeeds = append(b.misdeeds, "blob written again: "+digest.Short())
		}
		b.blobs[digest], b.blobTerms[digest] = data, b.term
		var t api.PodTemplate
		if json.Unmarshal(data, &t) == nil && len(t.Spec.Containers) > 0 {
			b.writes = append(b.writes, "blob "+t.Spec.Containers[0].Image)
		}
		if strings.HasPrefix(string(data), "sealed") {
			b.writes = append(b.writes, "blob "+string(data))
		}
		return nil
	})
}

func (b *fakeBus) PutAssignment(_ context.Context, a api.Assignment) error {
	return b.write("assignment", "assign "+describeAssignment(a), func() error {
		if a.Term < b.term {
			return errors.New("a later leader has begun")
		}
		old := b.assignments[a.Node]
		if old.Term == a.Term && a.Sequence <= old.Sequence {
			b.misdeeds = append(b.misdeeds, "the sequence of "+a.Node+" does not grow")
		}
		a.Pods = slices.Clone(a.Pods)
		b.assignments[a.Node] = a
		return nil
	})
}

func (b *fakeBus) PutRoutes(_ context.Context, _ api.Term, changed []api.Route, deleted []api.Ref) (uint64, error) {
	if len(changed)+len(deleted) == 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.revision, nil
	}
	err := b.write("routes", "routes "+describeRoutes(routeChange{changed: changed, deleted: deleted}), func() error {
		b.revision++
		before := b.endpoints()
		for _, r := range changed {
			b.routes[r.Service] = r
		}
		for _, ref := range deleted {
			delete(b.routes, ref)
		}
		after := b.endpoints()
		for key := range before {
			if !after[key] {
				b.left[key] = b.revision
			}
		}
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revision, err
}

// endpoints are the pods in the routes.
func (b *fakeBus) endpoints() map[podKey]bool {
	keys := map[podKey]bool{}
	for _, r := range b.routes {
		for _, key := range endpointKeys(r) {
			keys[key] = true
		}
	}
	return keys
}

// checkDrained holds that nothing ends while a machine that obeys may still send it connections, unless the controller
// says that it waited long enough.
func (b *fakeBus) checkDrained(p api.PodStatus, node string, machines []*machine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := podKey{p.Placement.UID, node}
	if b.timedOut[p.Placement.Pod] {
		return
	}
	if b.endpoints()[key] {
		b.misdeeds = append(b.misdeeds, describePod(p.Placement)+" ended while in the routes")
	}
	for _, m := range machines {
		if !m.cut && !m.away && b.acks[m.info.Name].Revision < b.left[key] {
			b.misdeeds = append(b.misdeeds, describePod(p.Placement)+" ended while in the routes of "+m.info.Name)
		}
	}
}

func (b *fakeBus) CompleteRoutes(context.Context, api.Term) error {
	return b.write("complete", "complete the routes", func() error { b.complete = true; b.revision++; return nil })
}

func (b *fakeBus) PutReport(_ context.Context, r api.Report) error {
	return b.write("report", "", func() error { b.report = &r; return nil })
}

// record keeps an event.
func (b *fakeBus) record(e api.Event) {
	b.events = append(b.events, e)
	if e.Kind == "DrainTimedOut" {
		b.timedOut[e.Ref] = true
	}
}

func (b *fakeBus) PublishEvent(_ context.Context, e api.Event) error {
	return b.write("event", "", func() error { b.record(e); return nil })
}

// describePod names a pod by owner, image, slot and incarnation.
func describePod(p api.Placement) string {
	return p.Owner.Name + ":" + p.Labels["image"] + describeSlot(p) + describeVolumes(p) + describeLive(p.Live)
}

// describeLive names what a pod has of what changes in place.
func describeLive(live *api.LiveConfig) string {
	if live == nil {
		return ""
	}
	var s strings.Builder
	for _, name := range slices.Sorted(maps.Keys(live.ConfigMaps)) {
		if d := live.ConfigMaps[name].Digest; d != "" {
			fmt.Fprintf(&s, "+%s@%s", name, d[:4])
		}
	}
	if live.Sealed != "" {
		fmt.Fprintf(&s, "+sealed@%s", live.Sealed[:4])
	}
	return s.String()
}

func describeSlot(p api.Placement) string { return fmt.Sprintf("#%d.%d", p.Slot, p.Incarnation) }

func describeAssignment(a api.Assignment) string {
	pods := make([]string, len(a.Pods))
	for i, p := range a.Pods {
		pods[i] = describePod(p)
	}
	slices.Sort(pods)
	out := fmt.Sprintf("%s: [%s]", a.Node, strings.Join(pods, " "))
	for _, j := range a.Jobs {
		out += fmt.Sprintf(" keeps %s %s", j.Job.Name, cmp.Or(string(j.Outcome), "under way"))
	}
	switch g := a.Ingress; {
	case g == nil:
		out += " says nothing of ingress"
	case g.Rules != "":
		out += " serves " + g.Rules.Short()
		for _, c := range g.Certificates {
			out += fmt.Sprintf(" with %s (%s) for %s", c.Secret.Name, c.Fingerprint, c.Recipient)
		}
	}
	return out
}

func describeRoutes(c routeChange) string {
	var parts []string
	for _, r := range c.changed {
		var nodes []string
		for _, e := range r.Endpoints {
			nodes = append(nodes, e.IP)
		}
		slices.Sort(nodes)
		parts = append(parts, fmt.Sprintf("%s: [%s]", r.Service.Name, strings.Join(nodes, " ")))
	}
	for _, ref := range c.deleted {
		parts = append(parts, ref.Name+": deleted")
	}
	return strings.Join(parts, ", ")
}

// String shows what the store holds.
func (b *fakeBus) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var s strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.assignments)) {
		fmt.Fprintf(&s, "assign %s\n", describeAssignment(b.assignments[name]))
	}
	for _, ref := range slices.SortedFunc(maps.Keys(b.routes), api.Ref.Compare) {
		fmt.Fprintf(&s, "routes %s\n", describeRoutes(routeChange{changed: []api.Route{b.routes[ref]}}))
	}
	return s.String()
}
