package scheduler

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
)

// A score is how well a pod would be off on a node.
type score struct {
	free      int64 // share, in ten-thousandths, that would be left of the scarcer of cpu and memory
	wish      int64 // what the author's wishes that are met weigh, less those against it
	crowd     int64 // pods like it in the domains that it is spread over
	unwanted  int32 // taints that say it had better not run there
	siblings  int32 // pods of the same template there
	relatives int32 // pods of the same owner there
	pods      int   // all pods there
}

// A candidate is a node that can take the pod, but for rules about other pods.
type candidate struct {
	node  *node
	score score
	// luck decides between equals: without it pods would all run into the node whose name comes first.
	luck uint64
}

// compare orders candidates, the better first.
func (c *candidate) compare(s *score, o *candidate, t *score) int {
	if order := s.compare(t); order != 0 {
		return order
	}
	if c.luck != o.luck {
		return cmp.Compare(c.luck, o.luck)
	}
	return cmp.Compare(c.node.Name, o.node.Name)
}

// candidates are the nodes that have what replicas of a template need. Without rules about other pods only the node that took
// the last replica is worth something else to the next, so that they are kept as a heap, the best on top: a replica costs the
// logarithm of the nodes. With rules every node may be.
type candidates struct {
	list  []candidate
	rules bool
}

func (c *candidates) Len() int { return len(c.list) }

func (c *candidates) Less(i, j int) bool {
	a, b := &c.list[i], &c.list[j]
	return a.compare(&a.score, b, &b.score) < 0
}

func (c *candidates) Swap(i, j int) { c.list[i], c.list[j] = c.list[j], c.list[i] }

func (c *candidates) Push(x any) { c.list = append(c.list, x.(candidate)) }

func (c *candidates) Pop() any {
	last := len(c.list) - 1
	x := c.list[last]
	c.list = c.list[:last]
	return x
}

// fitting are the candidates for an ask. They are good until the next call. What chance there is comes from the UID of its
// first pod: a pod that is made again need not come to the same node.
func (f *fleet) fitting(a *ask, uid string) *candidates {
	c, chance := &candidates{list: f.scratch[:0], rules: len(a.strict)+len(a.soft) > 0}, hash(uid)
	for _, n := range f.candidates(a) {
		if n.hasRoom(a) {
			c.list = append(c.list, candidate{node: n, score: a.score(n), luck: mix(chance ^ n.hash)})
		}
	}
	f.scratch = c.list
	if !c.rules {
		heap.Init(c)
	}
	return c
}

// asked asks a node again that has taken a replica.
func (c *candidates) asked(a *ask, i int) {
	n := c.list[i].node
	room := n.hasRoom(a)
	c.list[i].score = a.score(n)
	switch {
	case c.rules && !room:
		c.list = slices.Delete(c.list, i, i+1)
	case c.rules:
	case !room:
		heap.Remove(c, i)
	default:
		heap.Fix(c, i)
	}
}

// without leaves a node out that has no room for the pod any more.
func (c *candidates) without(a *ask, n *node) {
	c.list = slices.DeleteFunc(c.list, func(c candidate) bool { return c.node == n && !n.hasRoom(a) })
	if !c.rules {
		heap.Init(c)
	}
}

func (a *ask) score(n *node) score {
	v, left := &a.class.verdicts[n.index], n.free.Sub(a.requests)
	return score{
		unwanted: v.unwanted, wish: int64(v.preferred), siblings: n.siblings, relatives: n.relatives, pods: n.pods,
		free: min(share(left.MilliCPU, n.Allocatable.MilliCPU), share(left.Memory, n.Allocatable.Memory)),
	}
}

// share is in ten-thousandths. Whole numbers come out the same on every machine.
func share(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return part * 10_000 / whole
}

// with adds what the rules about other pods say of the node.
func (s score) with(a *ask, n *node) score {
	for _, r := range a.strict {
		if r.what == spread {
			s.crowd += r.counts[r.of[n.index]]
		}
	}
	for _, r := range a.soft {
		wish, crowd := r.wish(n)
		s.wish += wish
		s.crowd += crowd
	}
	return s
}

// heaviest is the most that an author can have a wish weigh.
const heaviest = 100

// wish is what a node is worth to a rule that need not be kept to, and how crowded its domain is. A pod more than a spread
// allows is as bad as the heaviest wish unmet.
func (r *rule) wish(n *node) (wish, crowd int64) {
	d := r.of[n.index]
	switch {
	case r.what == spread && d < 0: // worse than all that have the label
		return -heaviest * max(0, r.most()+1-r.least), r.most() + 1
	case r.what == spread:
		return -heaviest * max(0, r.skew(d)-r.maxSkew), r.counts[d]
	case d < 0:
		return 0, 0
	case r.what == leaned:
		return r.counts[d], 0
	}
	return r.weight * r.counts[d], 0
}

// compare orders scores, the better first: where the pod is wanted, by taints and by the author's wishes, then where it is
// apart from its like: in what it is spread over, and on the node (those of its own template first, because in a rollout the
// others are about to go); then where the scarcer of cpu and memory is least used.
func (s *score) compare(o *score) int {
	switch {
	case s.unwanted != o.unwanted:
		return cmp.Compare(s.unwanted, o.unwanted)
	case s.wish != o.wish:
		return cmp.Compare(o.wish, s.wish)
	case s.crowd != o.crowd:
		return cmp.Compare(s.crowd, o.crowd)
	case s.siblings != o.siblings:
		return cmp.Compare(s.siblings, o.siblings)
	case s.relatives != o.relatives:
		return cmp.Compare(s.relatives, o.relatives)
	case s.free != o.free:
		return cmp.Compare(o.free, s.free)
	}
	return cmp.Compare(s.pods, o.pods)
}

// choose gives the index of the best candidate, and how many there are that all rules allow; -1 is none.
func (c *candidates) choose(a *ask) (best, fit int) {
	if c.rules {
		return c.chooseByRules(a)
	}
	if len(c.list) == 0 {
		return -1, 0
	}
	return 0, len(c.list)
}

// chooseByRules is choose where every pod that is placed can change what another node is worth.
func (c *candidates) chooseByRules(a *ask) (best, fit int) {
	best = -1
	var top score
	for i := range c.list {
		n := &c.list[i]
		if a.forbids(n.node) {
			continue
		}
		fit++
		s := n.score.with(a, n.node)
		if best < 0 || n.compare(&s, &c.list[best], &top) < 0 {
			best, top = i, s
		}
	}
	return best, fit
}

// reason says why the node was chosen.
func (c *candidate) reason(a *ask, fit, all int) string {
	s := fmt.Sprintf("best of %d of %d nodes that fit: ", fit, all)
	switch c.score.relatives {
	case 0:
		s += "no other pod of " + a.owner.String() + " there"
	case 1:
		s += "1 other pod of " + a.owner.String() + " there"
	default:
		s += fmt.Sprintf("%d other pods of %s there", c.score.relatives, a.owner)
	}
	return s + fmt.Sprintf(", %d%% left of what is scarcer", c.score.free/100)
}

// hash is FNV-1a, 64 bits.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads every bit over all, as the last step of SplitMix64 (Steele, Lea and Flood 2014) does.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
