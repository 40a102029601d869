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
)

// leaseKey is the only key of the leader's bucket.
const leaseKey = "lease"

// A store is what the bus keeps. A store that was lost is followed by an empty one of a later epoch.
type store struct {
	epoch    uint64
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
	return &store{
		epoch:  uint64(now.UnixNano()),
		values: map[string]map[string]entry{inNodes: {}, inAssignments: {}, inStatuses: {}, inAcks: {}, inLeader: {}},
		blobs:  map[api.Digest][]byte{},
		routes: map[api.Ref]api.Route{},
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
		t.Revision = s.epoch + s.mark.seq
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
	epoch := w.store.epoch
	for _, c := range w.conns() {
		c.announce(bucket, key, epoch, entry{seq, value})
	}
	return seq
}

// loseStore empties the store. Whoever is connected notices sooner or later.
func (w *world) loseStore() {
	w.note("fault: the whole store is lost")
	w.store = newStore(time.Now())
	w.lost = time.Now()
	w.banned = map[string]bool{} // nobody can know any more, but by Git
	for _, c := range w.conns() {
		c.storeLost()
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
