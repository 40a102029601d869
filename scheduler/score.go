package scheduler

import (
	"cmp"
	"fmt"
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
}

// fitting are the nodes that have what the pod needs, ordered by name. They are good until the next call.
func (f *fleet) fitting(a *ask) []candidate {
	c := f.scratch[:0]
	for _, n := range f.candidates(a) {
		if n.hasRoom(a) {
			c = append(c, candidate{node: n, score: a.score(n)})
		}
	}
	f.scratch = c
	return c
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

// choose gives the index of the best candidate, and how many there are that all rules allow; -1 is none. Between equals a
// hash of pod and node decides, then the name: so pods do not all run into the node whose name comes first.
func choose(a *ask, fitting []candidate, pod uint64) (best, fit int) {
	if len(fitting) == 0 {
		return -1, 0
	}
	if len(a.strict)+len(a.soft) > 0 {
		return chooseByRules(a, fitting, pod)
	}
	for i := 1; i < len(fitting); i++ {
		c, top := &fitting[i], &fitting[best]
		if order := c.score.compare(&top.score); order < 0 || order == 0 && mix(pod^c.node.hash) < mix(pod^top.node.hash) {
			best = i
		}
	}
	return best, len(fitting)
}

// chooseByRules is choose where every pod that is placed can change what another node is worth.
func chooseByRules(a *ask, fitting []candidate, pod uint64) (best, fit int) {
	best = -1
	var top score
	for i := range fitting {
		c := &fitting[i]
		if a.forbids(c.node) {
			continue
		}
		fit++
		s := c.score.with(a, c.node)
		order := -1
		if best >= 0 {
			order = s.compare(&top)
		}
		if order < 0 || order == 0 && mix(pod^c.node.hash) < mix(pod^fitting[best].node.hash) {
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
