package controller

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// effects is what must be written so that the bus holds what should be, in the order of the fields. What is written, or
// fails, is told to the state, which knows by that what the bus holds.
type effects struct {
	blobs       []blob           // those that templates name before the templates, and else by digest
	assignments []api.Assignment // ordered by node
	// needs are the blobs, among those above, that a pod of the assignments cannot start without; by the pod's UID.
	needs map[string][]api.Digest
	// formers are what pods of the assignments keep of what changes in place, unless the blobs of what comes after are written; by UID.
	formers map[string]former
	routes  routeChange
	reverts []revertOrder
	events  []api.Event
}

// A blob is content under its digest.
type blob struct {
	digest api.Digest
	data   []byte
	names  []api.Digest // the blobs that a template names
}

// A routeChange is what must change of the routes.
type routeChange struct {
	changed  []api.Route
	deleted  []api.Ref
	complete bool // then, say that the bucket holds every route
}

func (c routeChange) empty() bool { return len(c.changed) == 0 && len(c.deleted) == 0 }

// effects gives the difference between what should be and what the bus holds.
func (s *state) effects() effects {
	e := effects{routes: s.routes.change(s.desired.gaps), needs: map[string][]api.Digest{}, formers: map[string]former{}, events: s.events}
	s.events = nil
	jobs, scaled := s.jobsByNode(), s.scaled()
	asked, _ := settingsOf(s.desired.objects)
	for _, n := range s.sortedNodes() {
		if a, changed := s.assignment(n, jobs[n], s.meterEvery(n, scaled), asked.spec.Drift); changed {
			e.assignments = append(e.assignments, a)
			for _, p := range a.Pods {
				if needs := s.lacking(n.pods[p.UID]); len(needs) > 0 {
					e.needs[p.UID] = needs
				}
				if f, waits := s.formerOf(n.pods[p.UID]); waits {
					e.formers[p.UID] = f
				}
			}
		}
	}
	e.blobs = s.orderBlobs()
	return e
}

// orderBlobs gives the blobs to be written, templates last: one that is there then has all that it names, whenever a leader dies.
func (s *state) orderBlobs() []blob {
	var contents, templates []blob
	for _, digest := range slices.Sorted(maps.Keys(s.blobs)) {
		b := blob{digest: digest, data: s.blobs[digest]}
		if t := s.templates[digest]; t != nil {
			b.names = slices.Sorted(maps.Values(t.ConfigMaps))
			templates = append(templates, b)
		} else {
			contents = append(contents, b)
		}
	}
	return slices.Concat(contents, templates)
}

// assignment gives what the node should have, and whether the bus holds something else. An assignment of an earlier term
// is written again: that bars what its leader may still send.
func (s *state) assignment(n *node, jobs []api.JobRecord, meterEvery time.Duration, drift api.DriftPolicy) (a api.Assignment, changed bool) {
	if !n.taken {
		return a, false // nobody knows yet what it runs
	}
	a = api.Assignment{Node: n.name, Term: s.term, Sequence: n.sequence + 1, Commit: s.desired.head.Commit, Jobs: jobs, MeterEvery: meterEvery}
	a.Claims, a.Released = s.assignClaims(n)
	a.Isolation = s.isolationOf(n)
	if drift == api.DriftReport {
		a.Drift = drift
	}
	a.Ingress = s.assignIngress(n)
	if n.uncompared {
		a.Pods = n.placements()
		n.uncompared = !slices.EqualFunc(a.Pods, n.written.Pods, samePlacement)
	}
	if !n.doubtful && !n.uncompared && sameBeside(a, n.written) {
		return a, false
	}
	if a.Pods == nil {
		a.Pods = n.placements()
	}
	return a, true
}

// placements are what the node is to run, ordered.
func (n *node) placements() []api.Placement {
	pods := []api.Placement{}
	for _, p := range n.pods {
		if p.assigned {
			pods = append(pods, p.placement)
		}
	}
	slices.SortFunc(pods, comparePlacements)
	return pods
}

// sameBeside reports whether two assignments of a node ask for the same beside their pods, by the same leader.
func sameBeside(a, b api.Assignment) bool {
	return a.Term == b.Term && a.MeterEvery == b.MeterEvery && a.Drift == b.Drift && reflect.DeepEqual(a.Jobs, b.Jobs) &&
		slices.Equal(a.Claims, b.Claims) && slices.Equal(a.Released, b.Released) &&
		equalIsolations(a.Isolation, b.Isolation) && reflect.DeepEqual(a.Ingress, b.Ingress)
}

// samePlacement reports whether two of a node say the same: of a pod, only its pull secrets change, what changes in
// place, and the key that its secrets are sealed to.
func samePlacement(a, b api.Placement) bool {
	return a.UID == b.UID && a.Recipient == b.Recipient && a.Pull.Same(b.Pull) && a.Live.Same(b.Live)
}

// lacking gives the blobs that a pod needs and the store may lack.
func (s *state) lacking(p *pod) []api.Digest {
	return slices.DeleteFunc(slices.Clone(p.needs), func(d api.Digest) bool { return s.blobs[d] == nil })
}

func comparePlacements(a, b api.Placement) int {
	return cmp.Or(a.Pod.Compare(b.Pod), cmp.Compare(a.UID, b.UID))
}

// blobWritten takes in that the store has the content.
func (s *state) blobWritten(digest api.Digest) {
	s.stored[digest] = true
	delete(s.blobs, digest)
}

// assignmentWritten takes in that the store has the assignment.
func (s *state) assignmentWritten(a api.Assignment) {
	n := s.nodes[a.Node]
	n.give(a)
	for _, p := range a.Pods {
		n.pods[p.UID].reached = p.Live
	}
	n.written, n.sequence, n.ours, n.doubtful = a, a.Sequence, true, false
	n.touch()
}

// assignmentFailed takes in that the store has the assignment, or the one before it.
func (s *state) assignmentFailed(a api.Assignment) {
	n := s.nodes[a.Node]
	n.give(a)
	n.sequence, n.doubtful = a.Sequence, true
	n.touch()
}

// give notes that the node may have learnt of the pods.
func (n *node) give(a api.Assignment) {
	for _, p := range a.Pods {
		n.pods[p.UID].given = true
	}
}

// routesWritten takes in that the store has the routes, as of a revision.
func (s *state) routesWritten(c routeChange, revision uint64) {
	for _, key := range s.routes.settled(c, revision) {
		if n, ok := s.nodes[key.node]; ok && n.pods[key.uid] != nil {
			n.pods[key.uid].left = revision
		}
	}
}

// routesWhole takes in that nodes follow the routes as of a revision, which replaces what nobody knew.
func (s *state) routesWhole(revision uint64) {
	s.routes.revision, s.routes.partial = revision, false
	for _, n := range s.nodes {
		for _, p := range n.pods {
			if p.left == unknownRevision {
				p.left = revision
			}
		}
	}
}
