package ingress

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// The waits for an endpoint. One that cannot be reached is left alone for a while, as long as there are others: its machine
// may have died, and each attempt would cost a whole dialTimeout.
const (
	dialTimeout = 3 * time.Second
	restAfter   = 5 * time.Second
)

// A target is a port of a service, with the way its endpoints are spoken to.
type target struct {
	service api.Ref
	port    int32
	h2c     bool
}

func targetOf(b *api.IngressBackend) target { return target{b.Service, b.Port, b.H2C} }

// An endpointKey tells an endpoint from all others, and from one that has its address later.
type endpointKey struct {
	uid  string
	addr netip.AddrPort
	h2c  bool
}

// An endpoint is where requests are sent, with its connections.
type endpoint struct {
	key       endpointKey
	transport *http.Transport
	busy      atomic.Int64 // requests that are with it
	failed    atomic.Int64 // when it could last not be reached, in nanoseconds since 1970

	mu        sync.Mutex
	waiting   int // requests that have chosen it, and that it has not begun to answer
	withdrawn bool
	quiet     chan struct{} // closed when it is withdrawn and no request waits
}

func newEndpoint(key endpointKey) *endpoint {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, "tcp", key.addr.String())
			if err != nil {
				return nil, err
			}
			return &countingConn{Conn: conn}, nil
		},
		MaxIdleConns: 128, MaxIdleConnsPerHost: 128, IdleConnTimeout: 60 * time.Second,
		ExpectContinueTimeout: time.Second, DisableCompression: true,
		MaxResponseHeaderBytes: 256 << 10, WriteBufferSize: 16 << 10, ReadBufferSize: 16 << 10,
	}
	if key.h2c {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return &endpoint{key: key, transport: t, quiet: make(chan struct{})}
}

// enter has a request choose the endpoint; it may not when the endpoint has been withdrawn.
func (e *endpoint) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.withdrawn {
		return false
	}
	e.waiting++
	return true
}

// leave ends the waiting: there is an answer, or none will come.
func (e *endpoint) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting--
	if e.withdrawn && e.waiting == 0 {
		close(e.quiet)
	}
}

// withdraw has no new request choose the endpoint.
func (e *endpoint) withdraw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.withdrawn = true
	if e.waiting == 0 {
		close(e.quiet)
	}
}

// settled waits until the endpoint has begun to answer all requests that chose it, and closes connections that are idle. One
// that is only on its way would be lost if the endpoint ended now: to its program the connection is still idle.
func (e *endpoint) settled(ctx context.Context) {
	e.transport.CloseIdleConnections()
	select {
	case <-e.quiet:
	case <-ctx.Done():
	}
	e.transport.CloseIdleConnections()
}

// rests reports whether the endpoint could not be reached of late.
func (e *endpoint) rests(now time.Time) bool {
	failed := e.failed.Load()
	return failed != 0 && now.Sub(time.Unix(0, failed)) < restAfter
}

// A countingConn knows how much was written to it.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// A pool is the endpoints of one target. It never changes.
type pool struct {
	endpoints []*endpoint
	shares    shares // nil where all are equal
	sticky    bool   // a client stays with one endpoint
}

// pools gives the endpoints of all targets by the routes, those that were there before as they are.
func pools(routes map[api.Ref]*api.Route, targets map[target]bool, before map[endpointKey]*endpoint) (map[target]*pool, map[endpointKey]*endpoint) {
	all, endpoints := make(map[target]*pool, len(targets)), map[endpointKey]*endpoint{}
	for t := range targets {
		route := routes[t.service]
		if route == nil {
			continue
		}
		i := slices.IndexFunc(route.Ports, func(p api.RoutePort) bool {
			return p.Port == t.port && (p.Protocol == corev1.ProtocolTCP || p.Protocol == "")
		})
		if i < 0 {
			continue
		}
		p := &pool{shares: sharesOf(route), sticky: route.AffinitySeconds > 0}
		for _, e := range route.Endpoints {
			ip, err := netip.ParseAddr(e.IP)
			if err != nil || i >= len(e.TargetPorts) || e.TargetPorts[i] == 0 || e.Share() == 0 {
				continue
			}
			key := endpointKey{e.UID, netip.AddrPortFrom(ip, uint16(e.TargetPorts[i])), t.h2c}
			if endpoints[key] == nil {
				endpoints[key] = before[key]
			}
			if endpoints[key] == nil {
				endpoints[key] = newEndpoint(key)
			}
			p.endpoints = append(p.endpoints, endpoints[key])
			if p.shares != nil {
				p.shares[endpoints[key]] = e.Share()
			}
		}
		all[t] = p
	}
	return all, endpoints
}

// pick chooses an endpoint for a client: of two at random the one with fewer requests, by their parts where they have some, or
// always the same one where clients stay. Those that were tried are left out, and those that rest as long as there are others. It gives nil where none is left.
func (p *pool) pick(client string, tried []*endpoint, now time.Time) *endpoint {
	candidates := p.candidates(tried, now)
	switch n := len(candidates); {
	case n == 0:
		return nil
	case n == 1:
		return candidates[0]
	case p.sticky && p.shares != nil:
		return p.shares.stickTo(candidates, client)
	case p.sticky:
		return stickTo(candidates, client)
	case p.shares != nil:
		return p.shares.pick(candidates)
	default:
		a, b := candidates[rand.IntN(n)], candidates[rand.IntN(n)]
		if b.busy.Load() < a.busy.Load() {
			return b
		}
		return a
	}
}

func (p *pool) candidates(tried []*endpoint, now time.Time) []*endpoint {
	out := func(e *endpoint) bool { return slices.Contains(tried, e) || e.rests(now) }
	if !slices.ContainsFunc(p.endpoints, out) {
		return p.endpoints
	}
	var fresh, resting []*endpoint
	for _, e := range p.endpoints {
		switch {
		case slices.Contains(tried, e):
		case e.rests(now):
			resting = append(resting, e)
		default:
			fresh = append(fresh, e)
		}
	}
	if len(fresh) > 0 {
		return fresh
	}
	return resting
}

// stickTo chooses by the client's address alone, so that every node chooses the same, and so that of the clients only those
// move whose endpoint goes: the endpoint with the highest weight has the client (rendezvous hashing, Thaler and Ravishankar).
func stickTo(candidates []*endpoint, client string) *endpoint {
	var best *endpoint
	var most uint64
	for _, e := range candidates {
		if w := rank(client, e); best == nil || w > most {
			best, most = e, w
		}
	}
	return best
}

// rank is what an endpoint is worth to a client, the same on every node.
func rank(client string, e *endpoint) uint64 {
	return weight(client + " " + e.key.uid + " " + e.key.addr.String())
}

// weight hashes a text. FNV leaves texts close together that differ only in their last letters; the finisher of MurmurHash3
// spreads them.
func weight(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // it never fails
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
