package ingress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headway.dev/headway/api"
)

// Options say where a proxy takes requests.
type Options struct {
	// Node is the machine's name, for what is told of it.
	Node string
	// HTTP and HTTPS are addresses to listen on, such as :80 and :443; empty is nowhere.
	HTTP, HTTPS string
	Logger      *slog.Logger // nil discards
}

// A Proxy sends requests to services, by the newest rules and routes that it was given.
type Proxy struct {
	options   Options
	httpsPort string
	log       *slog.Logger
	forward   *httputil.ReverseProxy
	changed   chan struct{} // holds one: there are newer rules
	current   atomic.Pointer[snapshot]

	mu     sync.Mutex // held while the next snapshot is made
	routes map[api.Ref]*api.Route
}

// A snapshot is all that requests are sent by. It never changes.
type snapshot struct {
	matcher      *matcher
	certificates *certificates
	targets      map[target]bool
	pools        map[target]*pool
	endpoints    map[endpointKey]*endpoint
	serves       bool // there are rules
}

// withdrawTimeout bounds how long a change of the routes waits for requests that a withdrawn endpoint takes its time to answer.
const withdrawTimeout = time.Second

// New makes a proxy, which knows no rules yet.
func New(o Options) (*Proxy, error) {
	p := &Proxy{options: o, log: o.Logger, changed: make(chan struct{}, 1)}
	for flag, address := range map[string]string{"HTTP": o.HTTP, "HTTPS": o.HTTPS} {
		if address == "" {
			continue
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("ingress: the address for %s is %q: it must be a port such as :80, or an address and a port: %w", flag, address, err)
		}
		if flag == "HTTPS" && port != "443" {
			p.httpsPort = ":" + port
		}
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.current.Store(&snapshot{matcher: newMatcher(api.IngressRules{}), certificates: newCertificates(api.IngressRules{}, nil)})
	buffers := &bufferPool{}
	p.forward = &httputil.ReverseProxy{
		Rewrite: rewrite, Transport: balancer{p}, BufferPool: buffers, ErrorHandler: p.fail,
		FlushInterval: -1, // whoever streams decides when there is something to read
		ErrorLog:      slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	return p, nil
}

// SetRules serves by these rules from now on, with the certificates that the secrets hold.
func (p *Proxy) SetRules(rules api.IngressRules, secrets map[api.Ref]api.SecretData) {
	next := &snapshot{
		matcher: newMatcher(rules), certificates: newCertificates(rules, secrets), targets: targetsOf(rules), serves: !rules.Empty(),
	}
	p.mu.Lock()
	withdrawn := p.take(next)
	p.mu.Unlock()
	for _, e := range withdrawn {
		e.transport.CloseIdleConnections()
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// SetRoutes sends requests to the endpoints of these routes from now on. When it returns, no other gets any, those that got
// one have begun to answer it or have had withdrawTimeout for that, and idle connections to them are closed.
func (p *Proxy) SetRoutes(ctx context.Context, table api.RouteTable) {
	routes := make(map[api.Ref]*api.Route, len(table.Routes))
	for i := range table.Routes {
		routes[table.Routes[i].Service] = &table.Routes[i]
	}
	p.mu.Lock()
	p.routes = routes
	next := *p.current.Load()
	withdrawn := p.take(&next)
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, withdrawTimeout)
	defer cancel()
	for _, e := range withdrawn {
		e.settled(ctx)
	}
}

// take makes a snapshot the current one, with the endpoints of the routes, and gives those that are withdrawn by that. The
// proxy is locked.
func (p *Proxy) take(next *snapshot) (withdrawn []*endpoint) {
	before := p.current.Load().endpoints
	next.pools, next.endpoints = pools(p.routes, next.targets, before)
	p.current.Store(next)
	for key, e := range before {
		if next.endpoints[key] == nil {
			e.withdraw()
			withdrawn = append(withdrawn, e)
		}
	}
	return withdrawn
}

// targetsOf are the ports of services that the rules lead to.
func targetsOf(rules api.IngressRules) map[target]bool {
	targets := map[target]bool{}
	add := func(b *api.IngressBackend) {
		if b != nil {
			targets[targetOf(b)] = true
		}
	}
	add(rules.Default)
	for _, h := range rules.Hosts {
		add(h.Default)
		for i := range h.Paths {
			add(&h.Paths[i].IngressBackend)
		}
	}
	return targets
}

// ServeHTTP sends a request to the service that its host and path lead to.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := p.current.Load()
	name := hostname(r.Host)
	b := now.matcher.match(name, r.URL.Path)
	switch {
	case r.Method == http.MethodConnect:
		http.Error(w, "this is no proxy for connections", http.StatusMethodNotAllowed)
	case b == nil:
		http.Error(w, "no ingress is for this host and path", http.StatusNotFound)
	case b.ToHTTPS && r.TLS == nil && p.options.HTTPS != "" && now.certificates.has(name):
		http.Redirect(w, r, "https://"+name+p.httpsPort+r.URL.RequestURI(), http.StatusPermanentRedirect)
	default:
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		// Else what a client still sends would be cut off when the answer begins. HTTP/2 knows no such thing.
		_ = http.NewResponseController(w).EnableFullDuplex()
		e := errand{targetOf(b), client}
		p.forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), errandKey{}, e)))
	}
}

// rewrite makes the request that is sent of the one that came: the same, but that only the proxy says where it came from.
func rewrite(r *httputil.ProxyRequest) {
	// ReverseProxy has dropped Forwarded and X-Forwarded-For, -Host and -Proto, and what it cannot parse of the query, which
	// is the service's to judge.
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.SetXForwarded()
	client, _, _ := net.SplitHostPort(r.In.RemoteAddr)
	r.Out.Header.Set("X-Real-Ip", client)
	r.Out.Header.Set("X-Forwarded-Port", localPort(r.In))
}

// localPort is the port that a request came to.
func localPort(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, port, err := net.SplitHostPort(a.String()); err == nil {
			return port
		}
	}
	return map[bool]string{true: "443", false: "80"}[r.TLS != nil]
}

// fail answers a request that no endpoint has answered.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, _ := r.Context().Value(errandKey{}).(errand)
	p.log.Debug("a request is not answered", "service", e.target.service.String(), "port", e.target.port, "error", err)
	switch {
	case errors.Is(r.Context().Err(), context.Canceled): // the client is gone
		w.WriteHeader(http.StatusBadGateway)
	case errors.Is(err, errNoEndpoint):
		http.Error(w, "no endpoint of the service is ready", http.StatusServiceUnavailable)
	default:
		http.Error(w, "the service did not answer", http.StatusBadGateway)
	}
}

// A bufferPool lends the buffers by which bodies are copied.
type bufferPool struct{ free sync.Pool }

func (b *bufferPool) Get() []byte {
	if buffer, ok := b.free.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *bufferPool) Put(buffer []byte) { b.free.Put(&buffer) }

// String tells where requests are sent, for people and tests.
func (p *Proxy) String() string {
	now := p.current.Load()
	out := ""
	targets := slices.SortedFunc(maps.Keys(now.pools), func(a, b target) int {
		return cmp.Or(a.service.Compare(b.service), cmp.Compare(a.port, b.port))
	})
	for _, t := range targets {
		out += fmt.Sprintf("%s:%d", t.service, t.port)
		for _, e := range now.pools[t].endpoints {
			out += " " + e.key.addr.String()
		}
		out += "\n"
	}
	return out
}
