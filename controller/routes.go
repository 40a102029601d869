package controller

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// A podKey names a pod on one node.
type podKey struct{ uid, node string }

// A routeBook knows the routes that the bus holds, and those that it should.
type routeBook struct {
	// written are the routes in the bus. After a failed write they hold the endpoints of both versions, for either may be there.
	written  map[api.Ref]api.Route
	doubtful map[api.Ref]bool // the last write failed
	wanted   map[api.Ref]api.Route
	revision uint64
	term     api.Term // of the leader that wrote those which were found
	complete bool     // this leader has said that the bucket holds every route
	// partial is a bucket that was found without all its routes: what it lacks, nodes may still have.
	partial bool
}

// unknownRevision is later than every revision: it stands for the one at which a pod left routes that nobody knows.
const unknownRevision = math.MaxUint64

func newRouteBook(routes []api.Route, revision uint64) routeBook {
	b := routeBook{written: map[api.Ref]api.Route{}, doubtful: map[api.Ref]bool{}, revision: revision, partial: revision == 0}
	for _, r := range routes {
		b.written[r.Service] = r
	}
	return b
}

// left is the revision by which a pod that the controller has only just heard of has left the routes, if it is in none.
func (b *routeBook) left() uint64 {
	if b.partial {
		return unknownRevision
	}
	return b.revision
}

// list gives the routes in force, by service: those last planned, or else those that were found.
func (b *routeBook) list() []api.Route {
	inForce := b.wanted
	if inForce == nil {
		inForce = b.written
	}
	routes := make([]api.Route, 0, len(inForce))
	for _, ref := range slices.SortedFunc(maps.Keys(inForce), api.Ref.Compare) {
		routes = append(routes, inForce[ref])
	}
	return routes
}

// want sets the routes that should be. A pod that is leaving is in none of them, whatever the plan says.
func (b *routeBook) want(planned []api.Route, leaving map[podKey]bool) {
	b.wanted = make(map[api.Ref]api.Route, len(planned))
	for _, r := range planned {
		b.wanted[r.Service] = without(r, leaving)
	}
}

// without leaves pods out of a route. One that has none of them keeps its very list, so that it is seen to be the same.
func without(r api.Route, leaving map[podKey]bool) api.Route {
	leaves := func(e api.Endpoint) bool { return leaving[podKey{e.UID, e.Node}] }
	if len(leaving) > 0 && slices.ContainsFunc(r.Endpoints, leaves) {
		r.Endpoints = slices.DeleteFunc(slices.Clone(r.Endpoints), leaves)
	}
	return r
}

// change gives what must be written and deleted, ordered by service. Where the objects have gaps, a partial table is not
// completed: nodes keep the routes that they have.
func (b *routeBook) change(gaps bool) routeChange {
	var c routeChange
	if b.wanted == nil {
		return c
	}
	for _, ref := range slices.SortedFunc(maps.Keys(b.wanted), api.Ref.Compare) {
		if have, ok := b.written[ref]; !ok || b.doubtful[ref] || !equalRoutes(have, b.wanted[ref]) {
			c.changed = append(c.changed, b.wanted[ref])
		}
	}
	for _, ref := range slices.SortedFunc(maps.Keys(b.written), api.Ref.Compare) {
		if _, ok := b.wanted[ref]; !ok {
			c.deleted = append(c.deleted, ref)
		}
	}
	c.complete = !b.complete && (!gaps || !b.partial)
	return c
}

// settled takes in that a change was written, and gives the pods that were in the routes it replaced.
func (b *routeBook) settled(c routeChange, revision uint64) (before []podKey) {
	b.revision = revision
	for _, r := range c.changed {
		before = append(before, endpointKeys(b.written[r.Service])...)
		b.written[r.Service] = r
		delete(b.doubtful, r.Service)
	}
	for _, ref := range c.deleted {
		before = append(before, endpointKeys(b.written[ref])...)
		delete(b.written, ref)
		delete(b.doubtful, ref)
	}
	return before
}

// failed takes in that nobody knows how much of a change was written. Nodes follow no table that was left half-written: once
// the rest is there, it has to be said anew that it is complete.
func (b *routeBook) failed(c routeChange) {
	b.complete = false
	for _, r := range c.changed {
		have, ok := b.written[r.Service]
		if !ok {
			have = r
		}
		have.Endpoints = slices.Concat(have.Endpoints, r.Endpoints)
		b.written[r.Service] = have
		b.doubtful[r.Service] = true
	}
	for _, ref := range c.deleted {
		b.doubtful[ref] = true
	}
}

// routed gives the pods that are, or may be, in the routes that the bus holds.
func (b *routeBook) routed() map[podKey]bool {
	keys := map[podKey]bool{}
	for _, r := range b.written {
		for _, key := range endpointKeys(r) {
			keys[key] = true
		}
	}
	return keys
}

func endpointKeys(r api.Route) []podKey {
	keys := make([]podKey, len(r.Endpoints))
	for i, e := range r.Endpoints {
		keys[i] = podKey{e.UID, e.Node}
	}
	return keys
}

// equalRoutes compares two routes; an empty list is as good as none.
func equalRoutes(a, b api.Route) bool {
	if len(a.Endpoints) != len(b.Endpoints) || len(a.Ports) != len(b.Ports) {
		return false
	}
	if len(a.Endpoints) == 0 {
		a.Endpoints, b.Endpoints = nil, nil
	}
	if len(a.Ports) == 0 {
		a.Ports, b.Ports = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// acked reports whether every living node has the revision of the routes, and which have not.
func (s *state) acked(revision uint64) (behind string, ok bool) {
	var names []string
	for _, n := range s.sortedNodes() {
		if n.joined() && !n.lost && !n.mourned && s.acks[n.name] < revision {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ", "), len(names) == 0
}
