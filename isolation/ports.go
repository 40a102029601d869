package isolation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// ports are some ports of some protocols, in their one form: ordered, and those that meet made one range.
type ports struct {
	all    bool // every port of every protocol; then there are no ranges
	ranges []api.PortRange
}

func portsOf(ranges []api.PortRange) ports {
	slices.SortFunc(ranges, func(a, b api.PortRange) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First))
	})
	joined := ranges[:0]
	for _, r := range ranges {
		if n := len(joined); n > 0 && joined[n-1].Protocol == r.Protocol && int(r.First) <= int(joined[n-1].Last)+1 {
			joined[n-1].Last = max(joined[n-1].Last, r.Last)
			continue
		}
		joined = append(joined, r)
	}
	return ports{ranges: joined}
}

func (p ports) none() bool { return !p.all && len(p.ranges) == 0 }

// with gives the ports of both.
func (p ports) with(o ports) ports {
	if p.all || o.all {
		return ports{all: true}
	}
	return portsOf(slices.Concat(p.ranges, o.ranges))
}

// String tells ports from others.
func (p ports) String() string {
	if p.all {
		return "all"
	}
	var b strings.Builder
	for _, r := range p.ranges {
		fmt.Fprintf(&b, "%s:%d-%d ", r.Protocol, r.First, r.Last)
	}
	return b.String()
}
