package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// The buckets of the store.
const (
	inNodes       = "nodes"
	inAssignments = "assignments"
	inStatuses    = "status"
	inAcks        = "acks"
	inLeader      = "leader"
	inRoutes      = "routes"
	inReport      = "report"
	inBlobs       = "blobs"
)

// buckets are all of them.
var buckets = []string{inNodes, inAssignments, inStatuses, inAcks, inLeader, inRoutes, inReport, inBlobs}

// leaseKey is the only key of the leader's bucket.
const leaseKey = "lease"

// A store is what the bus keeps. A bucket that was lost is followed by an empty one of a later epoch.
type store struct {
	epochs   map[string]uint64 // by bucket
	seq      uint64
	values   map[string]map[string]entry // by bucket and key
	blobs    map[api.Digest][]byte
	routes   map[api.Ref]api.Route
	routeSeq uint64
	mark     routeMark
	report   *api.Report
	// reportSeq is its sequence.
	reportSeq uint64
}

// An entry is one value with its sequence.
type entry struct {
	seq   uint64
	value any
}

// A routeMark closes a change of the routes: the table is whole when its mark is the newest message and the count is right.
type routeMark struct {
	term  api.Term
	count int
	seq   uint64
}

func newStore(now time.Time) *store {
	s := &store{epochs: map[string]uint64{}, values: map[string]map[string]entry{}}
	for _, bucket := range buckets {
		s.empty(bucket, now)
	}
	return s
}

// empty makes a bucket anew.
func (s *store) empty(bucket string, now time.Time) {
	s.epochs[bucket] = uint64(now.UnixNano())
	switch bucket {
	case inRoutes:
		s.routes, s.routeSeq, s.mark = map[api.Ref]api.Route{}, 0, routeMark{}
	case inReport:
		s.report, s.reportSeq = nil, 0
	case inBlobs:
		s.blobs = map[api.Digest][]byte{}
	default:
		s.values[bucket] = map[string]entry{}
	}
}

// put stores a value and gives its sequence.
func (s *store) put(bucket, key string, value any) uint64 {
	s.seq++
	s.values[bucket][key] = entry{s.seq, value}
	return s.seq
}

// table gives the routes, with their revision if they are a whole table, or else 0.
func (s *store) table() api.RouteTable {
	t := api.RouteTable{Routes: make([]api.Route, 0, len(s.routes))}
	for _, ref := range slices.SortedFunc(maps.Keys(s.routes), api.Ref.Compare) {
		t.Routes = append(t.Routes, s.routes[ref])
	}
	if s.mark.seq != 0 && s.mark.seq == s.routeSeq && s.mark.count == len(s.routes) {
		t.Revision = s.epochs[inRoutes] + s.mark.seq
	}
	return t
}

// valuesOf are all values of a bucket, by key.
func valuesOf[T any](s *store, bucket string) []T {
	var all []T
	for _, key := range slices.Sorted(maps.Keys(s.values[bucket])) {
		all = append(all, s.values[bucket][key].value.(T))
	}
	return all
}

// valueOf is the value of a key.
func valueOf[T any](s *store, bucket, key string) (value T, ok bool) {
	e, ok := s.values[bucket][key]
	if ok {
		value = e.value.(T)
	}
	return value, ok
}

// put stores a value that watches follow, and gives its sequence.
func (w *world) put(bucket, key string, value any) uint64 {
	seq := w.store.put(bucket, key, value)
	epoch := w.store.epochs[bucket]
	for _, c := range w.conns() {
		c.announce(bucket, key, epoch, entry{seq, value})
	}
	return seq
}

// lose empties buckets of the store. Whoever is connected notices sooner or later.
func (w *world) lose(buckets []string) {
	w.note("fault: of the store, %v are lost", buckets)
	for _, bucket := range buckets {
		w.store.empty(bucket, time.Now())
		switch bucket {
		case inReport:
			w.banned = map[string]bool{} // nobody can know any more, but by Git
		case inRoutes:
			w.routed()
		}
	}
	for _, c := range w.conns() {
		c.storeLost(buckets)
	}
	for _, m := range w.machines {
		w.after(w.chance.roll("notice "+m.name).between(0, 3*time.Second), m.sayAgain)
	}
}

// conns are the connections of the controllers that live.
func (w *world) conns() []*conn {
	var conns []*conn
	for _, p := range w.processes {
		if p.conn != nil && !p.conn.dead {
			conns = append(conns, p.conn)
		}
	}
	return conns
}

// describe names a pod by owner, image, slot and incarnation.
func describe(p api.Placement) string {
	return fmt.Sprintf("%s/%s@%s#%d.%d", p.Owner.Kind, p.Owner.Name, p.Template.Short()[:4], p.Slot, p.Incarnation)
}
