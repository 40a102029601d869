package scheduler

import (
	"slices"
	"strings"
)

// A home is where the claims of a pod lie.
type home struct {
	node   *node
	claims []string // those that lie somewhere
	apart  bool     // on different nodes
	nodes  []string // of each claim
}

// qualified gives claims as people write them: namespace/name, in order.
func qualified(namespace string, names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, namespace+"/"+name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lay notes that a claim lies on the node. Of several nodes that say so, one that is not lost has it, then the first by name.
func (f *fleet) lay(claim string, n *node) {
	if had := f.claims[claim]; had == nil || had.Lost && !n.Lost || had.Lost == n.Lost && n.Name < had.Name {
		f.claims[claim] = n
	}
}

// homeOf gives where claims lie; nil is nowhere yet.
func (f *fleet) homeOf(claims []string) *home {
	var h *home
	for _, claim := range claims {
		n := f.claims[claim]
		switch {
		case n == nil:
			continue
		case h == nil:
			h = &home{node: n}
		case h.node != n:
			h.apart = true
		}
		h.claims, h.nodes = append(h.claims, claim), append(h.nodes, n.Name)
	}
	return h
}

// says what stands in the way at home: "its claim shop/data-0 is on n2, which is lost".
func (h *home) says(why string) string {
	s := "its claim " + h.claims[0] + " is on "
	if len(h.claims) > 1 {
		s = "its claims " + strings.Join(h.claims, " and ") + " are on "
	}
	if h.apart {
		return s + "different nodes: " + strings.Join(h.nodes, " and ")
	}
	return s + h.node.Name + ", which " + why
}
