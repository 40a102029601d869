package scheduler

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// A score is how well a pod would be off on a node.
type score struct {
	unwanted  int   // taints that say it had better not run there
	siblings  int   // pods of the same template there
	relatives int   // pods of the same owner there
	free      int64 // share, in ten-thousandths, that would be left of the scarcer of cpu and memory
	pods      int   // all pods there
}

// A candidate is a node that can take the pod.
type candidate struct {
	node  *node
	score score
}

// fitting are the nodes that can take the pod, ordered by name.
func (f *fleet) fitting(a *ask) []candidate {
	var c []candidate
	for _, n := range f.nodes {
		if by, _ := a.refuses(n); by == nil {
			c = append(c, candidate{node: n, score: a.score(n)})
		}
	}
	return c
}

func (a *ask) score(n *node) score {
	s := score{siblings: n.siblings, relatives: n.relatives, pods: n.pods}
	for i := range n.Taints {
		if n.Taints[i].Effect == corev1.TaintEffectPreferNoSchedule && !a.tolerates(&n.Taints[i]) {
			s.unwanted++
		}
	}
	left := n.free.Sub(a.requests)
	s.free = min(share(left.MilliCPU, n.Allocatable.MilliCPU), share(left.Memory, n.Allocatable.Memory))
	return s
}

// share is in ten-thousandths. Whole numbers come out the same on every machine.
func share(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return part * 10_000 / whole
}

// compare orders scores, the better first: where the pod is wanted, then where it is apart from its like (those of its own
// template first, because in a rollout the others are about to go), then where the scarcer of cpu and memory is least used.
func (s score) compare(o score) int {
	return cmp.Or(
		cmp.Compare(s.unwanted, o.unwanted),
		cmp.Compare(s.siblings, o.siblings),
		cmp.Compare(s.relatives, o.relatives),
		-cmp.Compare(s.free, o.free),
		cmp.Compare(s.pods, o.pods),
	)
}

// choose gives the index of the best candidate. Between equals a hash of pod and node decides, then the name: so pods do
// not all run into the node whose name comes first.
func choose(fitting []candidate, pod uint64) int {
	best := 0
	for i := 1; i < len(fitting); i++ {
		switch c := fitting[i].score.compare(fitting[best].score); {
		case c < 0:
			best = i
		case c == 0 && mix(pod^fitting[i].node.hash) < mix(pod^fitting[best].node.hash):
			best = i
		}
	}
	return best
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
