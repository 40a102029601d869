package ingress

import (
	"math"
	"math/rand/v2"
	"slices"

	"headway.dev/headway/api"
)

// shares are the parts that endpoints have of a target's requests, where they are not to be equal. Such a part is promised:
// it counts alone, and not how busy an endpoint is, or else a slow version would get less than it is to be tried with.
type shares map[*endpoint]int32

// sharesOf gives an empty set where the route's endpoints have parts of their own, and else none.
func sharesOf(route *api.Route) shares {
	if slices.ContainsFunc(route.Endpoints, func(e api.Endpoint) bool { return e.Weight != 0 }) {
		return shares{}
	}
	return nil
}

// pick chooses by chance.
func (s shares) pick(candidates []*endpoint) *endpoint {
	var total int64
	for _, e := range candidates {
		total += int64(s[e])
	}
	at := rand.Int64N(total) // each has a part
	for _, e := range candidates {
		if at -= int64(s[e]); at < 0 {
			return e
		}
	}
	return nil // never: the parts add up to the total
}

// stickTo chooses by the client's address alone, as stickTo does among equals: each endpoint has the clients of its part, and a
// part that grows takes clients from others without moving those of its own (weighted rendezvous hashing).
func (s shares) stickTo(candidates []*endpoint, client string) *endpoint {
	var best *endpoint
	least := math.Inf(1)
	for _, e := range candidates {
		u := (float64(rank(client, e)>>11) + 0.5) / (1 << 53) // between 0 and 1, and neither of them
		if time := -math.Log(u) / float64(s[e]); time < least {
			best, least = e, time
		}
	}
	return best
}
