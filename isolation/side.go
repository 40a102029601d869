package isolation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// A side gathers what passes in one direction: the addresses that each set of ports is open for.
type side map[string]*opening

type opening struct {
	ports ports
	spans []span
}

func (s side) open(p ports, spans []span) {
	if p.none() || len(spans) == 0 {
		return
	}
	key := p.String()
	if s[key] == nil {
		s[key] = &opening{ports: p}
	}
	s[key].spans = append(s[key].spans, spans...)
}

// An edge is where an opening begins, or has ended.
type edge struct {
	at      uint64
	opening int
	begins  bool
}

// allowed gives the side's one form. It walks the addresses from edge to edge, and between two of them the same openings
// are in force.
func (s side) allowed() *api.Allowed {
	openings := make([]*opening, 0, len(s))
	for _, o := range s {
		o.spans = union(o.spans)
		openings = append(openings, o)
	}
	slices.SortFunc(openings, func(a, b *opening) int { return strings.Compare(a.ports.String(), b.ports.String()) })
	var edges []edge
	for i, o := range openings {
		for _, sp := range o.spans {
			edges = append(edges, edge{uint64(sp.lo), i, true}, edge{uint64(sp.hi) + 1, i, false})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })

	into := side{}
	sums := map[string]ports{}
	inForce := make([]byte, len(openings))
	for i, e := range edges {
		inForce[e.opening] = 0
		if e.begins {
			inForce[e.opening] = 1
		}
		if i+1 == len(edges) || edges[i+1].at == e.at {
			continue
		}
		sum, known := sums[string(inForce)]
		if !known {
			for j, o := range openings {
				if inForce[j] == 1 {
					sum = sum.with(o.ports)
				}
			}
			sums[string(inForce)] = sum
		}
		into.open(sum, []span{{uint32(e.at), uint32(edges[i+1].at - 1)}})
	}
	return into.flows()
}

// flows writes openings down that have no address in common.
func (s side) flows() *api.Allowed {
	openings := make([]*opening, 0, len(s))
	for _, o := range s {
		o.spans = union(o.spans)
		openings = append(openings, o)
	}
	slices.SortFunc(openings, func(a, b *opening) int { return cmp.Compare(a.spans[0].lo, b.spans[0].lo) })
	a := &api.Allowed{}
	for _, o := range openings {
		flow := api.Flow{Ports: o.ports.ranges}
		for _, sp := range o.spans {
			for _, p := range sp.prefixes() {
				flow.Networks = append(flow.Networks, p.String())
			}
		}
		a.Flows = append(a.Flows, flow)
	}
	return a
}

// keyOf tells what passes from what else may pass.
func keyOf(a *api.Allowed) string {
	if a == nil {
		return "everything"
	}
	return fmt.Sprint(a.Flows)
}
