package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
)

// A podBook knows the pods of all nodes together. It is brought up to date before each plan by looking at the nodes on which
// something has changed, so that a pass costs what happened and not what there is.
type podBook struct {
	// keeper plans, and knows of each pod as it was when its node was last looked at.
	keeper *planner.Keeper
	// byUID has more than one pod only where two machines report the same one, and then the one that counts is in best.
	byUID map[string][]*pod
	best  map[string]*pod
	// unswept is set where something may be kept for pods that are no more.
	unswept bool
}

func newPodBook() podBook {
	return podBook{keeper: planner.NewKeeper(), byUID: map[string][]*pod{}, best: map[string]*pod{}, unswept: true}
}

// get finds the pod of a UID that counts; nil is none.
func (b *podBook) get(uid string) *pod {
	if p := b.best[uid]; p != nil {
		return p
	}
	if same := b.byUID[uid]; len(same) > 0 {
		return same[0]
	}
	return nil
}

// A standing is what a node's loss makes of its pods.
type standing struct{ lost, outOfService, lapsed bool }

// A census is what is known of the pods of a node since it was last looked at.
type census struct {
	standing standing
	assigned int    // how many are
	idle     []*pod // those that are not meant to run, and those told to stop since
	pulls    bool   // some have pull secrets
	rekeyed  bool   // some have secrets that are sealed to another key than the node's
	bare     bool   // for some nobody has stored what they need, as far as this leader knows
}

// touch notes that something of the node's pods, or of what it was given, may be different from now on.
func (n *node) touch() { n.unlooked, n.uncompared = true, true }

// addPod takes in a pod of a node.
func (s *state) addPod(n *node, p *pod) {
	uid := p.placement.UID
	n.pods[uid] = p
	s.pods.byUID[uid] = append(s.pods.byUID[uid], p)
	s.pods.unswept = true
	n.touch()
}

// dropPod forgets a pod of a node. If another node has the same, that one counts from now on.
func (s *state) dropPod(n *node, uid string) {
	p := n.pods[uid]
	delete(n.pods, uid)
	n.touch()
	s.pods.unswept = true
	delete(s.pods.best, uid)
	rest := slices.DeleteFunc(s.pods.byUID[uid], func(o *pod) bool { return o == p })
	for _, o := range rest {
		s.nodes[o.placement.Node].touch()
	}
	if s.pods.byUID[uid] = rest; len(rest) == 0 {
		delete(s.pods.byUID, uid)
		s.pods.keeper.Remove(uid)
	}
}

// look brings what is known of all pods up to date. What a node ends by itself is stopped.
func (s *state) look(now time.Time) {
	s.unique(now)
	alive := s.anyAlive()
	for _, n := range s.sortedNodes() {
		stands := standing{n.lost && alive, n.outOfService(), s.lapsed(n)}
		if !n.unlooked && stands == n.census.standing {
			continue
		}
		for _, p := range n.pods {
			if p.phase() == api.PodStopping {
				s.stop(p, stop{kind: "Stopped", reason: "its node is ending it"}, now)
			}
		}
		n.unlooked, n.census = false, s.count(n, stands)
		for uid, p := range n.pods {
			if len(s.pods.byUID[uid]) == 1 {
				s.pods.keeper.Put(s.observed(p))
			}
		}
	}
	for _, p := range s.pods.best {
		s.pods.keeper.Put(s.observed(p))
	}
}

// count looks at all pods of a node.
func (s *state) count(n *node, stands standing) census {
	c := census{standing: stands}
	for _, p := range n.pods {
		if p.assigned {
			c.assigned++
		}
		if !p.runs() {
			c.idle = append(c.idle, p)
		}
		c.pulls = c.pulls || p.placement.Pull != nil
		c.rekeyed = c.rekeyed || s.isRekeyed(p)
		c.bare = c.bare || p.isBare()
	}
	return c
}

// unique leaves one pod of each UID and stops the others: two machines may report one pod after a store was lost and its
// node came back late.
func (s *state) unique(now time.Time) {
	clear(s.pods.best)
	if len(s.pods.byUID) == s.countPods() {
		return
	}
	for uid, same := range s.pods.byUID {
		if len(same) == 1 {
			continue
		}
		best := slices.MinFunc(same, preferred)
		s.pods.best[uid] = best
		for _, p := range same {
			if p != best && p.runs() {
				s.stop(p, stop{kind: "Stopped", reason: fmt.Sprintf("node %s runs the same pod", best.placement.Node)}, now)
			}
		}
	}
}

// countPods is how many pods all nodes have.
func (s *state) countPods() int {
	pods := 0
	for _, n := range s.nodes {
		pods += len(n.pods)
	}
	return pods
}

// preferred orders pods of one UID, the one to keep first.
func preferred(a, b *pod) int {
	return cmp.Or(
		first(a.runs(), b.runs()),
		first(a.assigned, b.assigned),
		first(a.ready(), b.ready()),      // the one that serves
		first(!a.adopted, !b.adopted),    // the one that the store knew of
		a.started().Compare(b.started()), // the older one
		cmp.Compare(a.placement.Node, b.placement.Node),
	)
}

// first orders the true before the false.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// allPods gives every pod, by node and UID.
func (s *state) allPods() []*pod {
	pods := make([]*pod, 0, len(s.pods.byUID))
	for _, n := range s.sortedNodes() {
		for _, uid := range slices.Sorted(maps.Keys(n.pods)) {
			pods = append(pods, n.pods[uid])
		}
	}
	return pods
}

// idle gives the pods that are not meant to run, by ref, UID and node.
func (s *state) idle() []*pod {
	var idle []*pod
	for _, n := range s.nodes {
		idle = append(idle, n.census.idle...)
	}
	slices.SortFunc(idle, comparePods)
	return slices.Compact(idle)
}

// rekeyed gives the pods that count whose secrets are sealed to another key than their node's, by ref and UID.
func (s *state) rekeyed() []*pod {
	var rekeyed []*pod
	for _, n := range s.nodes {
		if !n.census.rekeyed {
			continue
		}
		for uid, p := range n.pods {
			if s.isRekeyed(p) && s.pods.get(uid) == p {
				rekeyed = append(rekeyed, p)
			}
		}
	}
	slices.SortFunc(rekeyed, comparePods)
	return rekeyed
}

// comparePods orders pods by ref, UID and node.
func comparePods(a, b *pod) int {
	return cmp.Or(comparePlacements(a.placement, b.placement), cmp.Compare(a.placement.Node, b.placement.Node))
}
