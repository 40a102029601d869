package controller

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
	"headway.dev/headway/tenure"
)

// limits are the times and ranges that a state keeps to.
type limits struct {
	repository   string
	serviceCIDR  string
	nodeLease    time.Duration
	times        tenure.Times // of what must not run twice
	drainTimeout time.Duration
	scalePeriod  time.Duration // how often autoscalers reckon, and nodes say what their containers use
	revertGrace  time.Duration // how long a leader looks on before it reverts, and after each failure to
	settle       time.Duration // how long a fresh store waits after each node that turns up
}

// state is all that a leader knows: what Git wants, what the nodes report, what it has decided, and what the bus holds.
// It is changed by what is observed, by reconcile, and by what came of the effects; by nothing else, and never by the clock.
type state struct {
	limits
	term    api.Term
	started time.Time // when this leader began: no lease is older

	newest      outcome // of the head
	newestKnown bool
	held        hold            // why the newest commit is not in force
	quarantined map[string]bool // commits that were reverted for failing
	desired     desired
	nodes       map[string]*node
	ordered     []*node // by name; nil until they are asked for
	pods        podBook
	acks        map[string]uint64 // by node: the revision of the routes that its kernel has
	routes      routeBook
	// draining counts the pods that wait to leave their assignment.
	draining int
	sealer   Sealer
	secrets  map[api.Ref]api.Object   // declared
	sealed   map[sealedKey]api.Digest // by this leader, for templates in use
	pulls    pulls
	live     map[liveKey]api.Digest // sealed by this leader, for pods that it gave it to
	stored   map[api.Digest]bool    // blobs known to be in the store
	blobs    map[api.Digest][]byte  // blobs that pods need and the store may lack
	stock    map[api.Digest]bool    // blobs that the store had when this leader began; since then others may have been pruned
	// unprovided is that nodes were taken on, or another commit was: the store may lack templates that Git holds.
	unprovided bool
	ingress    ingressBook
	// templates are those of pods that this leader created; of others it knows what their placements repeat.
	templates map[api.Digest]*api.PodTemplate

	// fresh is a store by which no controller has planned, though one may have reported that it waits: then nobody can say how
	// many nodes will turn up. Some may be there already, for each says again what it is when it finds that the store was lost.
	fresh    bool
	heard    time.Time // when any node was last heard, or the leader began
	hush     time.Time // when every lease ends, while nobody is heard; zero: somebody is
	fleet    int       // how many nodes there are as far as anybody remembers
	unseen   string    // why pods may run that this leader does not know of
	untold   string    // why claims may have data that it does not know of
	tenures  time.Time // when to look again at what lost nodes may run; zero is never
	newcomer time.Time // when the last unknown node turned up
	planned  bool      // this leader has planned once: from then on it knows what runs
	// replacedRead is set when the templates were read that the first plan has found to be unwanted.
	replacedRead bool
	waiting      string    // what the first plan waits for; empty once planned
	settles      time.Time // when time alone ends that wait; zero is never

	reverts   map[string]*revert // by commit
	inForce   []api.Object       // what Git wants, and what it wants no more but may not be deleted; nil is unknown
	version   int                // counts changes of inForce
	enforced  int                // the generation of the desired objects that inForce was made of
	kept      []api.Object       // those that Git wants no more
	deletions []planner.Deletion
	claims    []api.Claim // as the last plan wants them noted, and released
	released  []api.ReleasedClaim
	scales    []api.ScaleRecord
	workloads []api.WorkloadStatus
	jobs      []api.JobRecord // as the last plan wants them kept
	found     []api.JobRecord // as the leader before left them, until nodes have them
	problems  []api.Problem   // of the last plan
	pending   []api.PendingPod
	announced map[string]bool // pods whose refusal has had its event
	planWake  time.Time       // when the plan wants to be made again
	deployed  api.Revision    // the newest commit that was wholly in force
	events    []api.Event     // not yet handed out
	// isolation is what network policies let through, by node, as of the last plan.
	isolation map[string]*api.Isolation
}

// newState takes up what the bus holds.
func newState(l limits, sealer Sealer, term api.Term, found State, now time.Time) *state {
	s := &state{
		limits: l, sealer: sealer, term: term, started: now, newcomer: now, heard: now,
		nodes: map[string]*node{}, pods: newPodBook(), acks: map[string]uint64{},
		routes: newRouteBook(found.Routes, found.RouteRevision),
		stored: map[api.Digest]bool{}, blobs: map[api.Digest][]byte{}, stock: map[api.Digest]bool{},
		templates:   map[api.Digest]*api.PodTemplate{},
		quarantined: map[string]bool{}, reverts: map[string]*revert{},
		secrets: map[api.Ref]api.Object{}, sealed: map[sealedKey]api.Digest{}, live: map[liveKey]api.Digest{},
		announced: map[string]bool{}, ingress: ingressBook{sealed: map[sealedCertificate]api.Digest{}},
		fresh: len(found.Assignments) == 0 && (found.Report == nil || found.Report.Waiting),
	}
	s.routes.term = found.RouteTerm
	for _, a := range found.Assignments {
		n := s.node(a.Node, now)
		n.known, n.written = true, a
		n.sequence = a.Sequence
		for _, p := range a.Pods {
			s.addPod(n, &pod{placement: p, assigned: true, given: true, left: s.routes.left(), reached: p.Live})
		}
	}
	s.observeNodes(found.Nodes, now)
	for _, status := range found.Statuses {
		s.observeStatus(status, now)
	}
	if found.Report != nil {
		s.resume(*found.Report)
	}
	return s
}

// resume goes on from what the leader before reported, so that nothing is said twice.
func (s *state) resume(r api.Report) {
	s.workloads, s.pending, s.deployed, s.found = r.Workloads, r.Pending, r.Deployed, r.Jobs
	s.resumeScales(r.Scales)
	s.fleet = r.Fleet
	for _, commit := range r.Quarantined {
		s.quarantined[commit] = true
	}
	for _, p := range r.Pending {
		s.announced[p.Pod.String()] = true
	}
	for _, c := range r.Nodes {
		n, ok := s.nodes[c.Name]
		switch {
		case ok && c.State == nodeLost:
			n.mourned = true
		case !ok && c.State != nodeLost && c.Pods > 0: // the store has lost all else of it
			s.node(c.Name, s.started).remembered = true
		}
	}
	if len(r.Refused) > 0 {
		s.desired.announced = r.Head.Commit
	}
}

// due is when reconcile has something to do only because time goes by; zero is never.
func (s *state) due() time.Time {
	due := earlier(s.planWake, s.held.until)
	for _, r := range s.reverts {
		if !r.asked && !r.ended {
			due = earlier(due, r.again)
		}
	}
	for _, n := range s.nodes {
		if !n.lost {
			due = earlier(due, s.leaseEnd(n))
		}
		for _, p := range n.census.idle {
			if p.draining() {
				due = earlier(due, p.stopping.deadline)
			}
		}
	}
	return earlier(due, earlier(s.settles, s.tenures))
}

// earlier gives the earlier of two times, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// sortedNodes gives the nodes by name.
func (s *state) sortedNodes() []*node {
	if s.ordered == nil {
		s.ordered = slices.SortedFunc(maps.Values(s.nodes), func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	}
	return s.ordered
}

// event notes what happened; it is handed out with the next effects.
func (s *state) event(e api.Event) {
	e.Origin = origin
	s.events = append(s.events, e)
}

// origin is how the controller signs its events.
const origin = "controller"
