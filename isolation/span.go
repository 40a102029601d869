package isolation

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// A span is the IPv4 addresses from lo to hi, both included.
type span struct{ lo, hi uint32 }

// everywhere is every address.
func everywhere() []span { return []span{{0, ^uint32(0)}} }

func spanOf(p netip.Prefix) span {
	lo := number(p.Masked().Addr())
	return span{lo, lo | uint32(uint64(1)<<(32-p.Bits())-1)}
}

func number(ip netip.Addr) uint32 {
	four := ip.As4()
	return binary.BigEndian.Uint32(four[:])
}

// union puts spans in order, in place, those that meet made one.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	joined := spans[:0]
	for _, s := range spans {
		if n := len(joined); n > 0 && uint64(s.lo) <= uint64(joined[n-1].hi)+1 {
			joined[n-1].hi = max(joined[n-1].hi, s.hi)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// without gives what is left of a span. The holes are ordered and do not meet, as union gives them.
func (s span) without(holes []span) []span {
	var left []span
	next := uint64(s.lo)
	for _, h := range holes {
		if uint64(h.hi) < next || h.lo > s.hi {
			continue
		}
		if uint64(h.lo) > next {
			left = append(left, span{uint32(next), h.lo - 1})
		}
		next = uint64(h.hi) + 1
	}
	if next <= uint64(s.hi) {
		left = append(left, span{uint32(next), s.hi})
	}
	return left
}

// prefixes gives the fewest networks that are the span together, in order.
func (s span) prefixes() []netip.Prefix {
	var list []netip.Prefix
	for lo := uint64(s.lo); lo <= uint64(s.hi); {
		// The largest network that begins here and ends in time.
		free := min(bits.TrailingZeros64(lo|1<<32), bits.Len64(uint64(s.hi)-lo+1)-1)
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], uint32(lo))
		list = append(list, netip.PrefixFrom(netip.AddrFrom4(ip), 32-free))
		lo += 1 << free
	}
	return list
}
