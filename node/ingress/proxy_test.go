package ingress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// front is a proxy in front of real servers on loopback.
type front struct {
	*testing.T
	*Proxy
	*httptest.Server
}

// open serves a proxy by rules that send everything to the service web.
func open(t *testing.T, rules api.IngressRules) *front {
	t.Helper()
	p, err := New(Options{Node: "n1", HTTPS: ":443"})
	if err != nil {
		t.Fatal(err)
	}
	p.SetRules(rules, nil)
	s := httptest.NewServer(p)
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		s.Close()
		p.SetRoutes(context.Background(), api.RouteTable{}) // closes what is idle
	})
	return &front{t, p, s}
}

func everything() api.IngressRules {
	return api.IngressRules{Hosts: []api.IngressHost{{Paths: []api.IngressPath{prefix("/", "web")}}}}
}

// route has the service web stand for servers, one of whose addresses may be dead.
func (f *front) route(servers ...string) {
	f.Helper()
	route := api.Route{
		Service: api.Ref{Kind: "Service", Namespace: "shop", Name: "web"},
		Ports:   []api.RoutePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
	}
	for _, s := range servers {
		at, err := netip.ParseAddrPort(strings.TrimPrefix(s, "http://"))
		if err != nil {
			f.Fatal(err)
		}
		route.Endpoints = append(route.Endpoints, api.Endpoint{UID: s, IP: at.Addr().String(), TargetPorts: []int32{int32(at.Port())}})
	}
	f.SetRoutes(f.Context(), api.RouteTable{Revision: 1, Routes: []api.Route{route}})
}

// A reply is a whole answer.
type reply struct {
	status          int
	header, trailer http.Header
	body            string
}

func (f *front) do(method, path, body string, change func(*http.Request)) reply {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if change != nil {
		change(r)
	}
	answer, err := f.Client().Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		f.Fatal(err)
	}
	return reply{answer.StatusCode, answer.Header, answer.Trailer, string(said)}
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// dead is an address where nothing listens.
func dead(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAnswersThatAreTheProxysOwn(t *testing.T) {
	f := open(t, api.IngressRules{Hosts: []api.IngressHost{{Paths: []api.IngressPath{exact("/web", "web"), exact("/gone", "gone")}}}})
	f.route()
	for _, want := range []struct {
		path   string
		status int
	}{{"/other", 404}, {"/web", 503}, {"/gone", 503}} {
		if got := f.do("GET", want.path, "", nil); got.status != want.status {
			t.Errorf("%s: %d: %s", want.path, got.status, got.body)
		}
	}
	f.route(dead(t))
	if got := f.do("GET", "/web", "", nil); got.status != http.StatusBadGateway {
		t.Errorf("a dead endpoint: %d: %s", got.status, got.body)
	}
}

// TestRequestsArriveAsTheyWere compares what a server gets with what was sent: only where it came from is the proxy's to say.
func TestRequestsArriveAsTheyWere(t *testing.T) {
	backend := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintln(w, r.Method, r.Host, r.RequestURI, string(body))
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded", "X-Own", "User-Agent"} {
			fmt.Fprintln(w, name, r.Header.Values(name))
		}
	})
	f := open(t, everything())
	f.route(backend.URL)
	got := f.do("POST", "/a%2Fb//c?x=1;y=%zz", "hello", func(r *http.Request) {
		r.Host = "shop.example"
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded"} {
			r.Header.Set(name, "forged")
		}
		r.Header.Set("X-Own", "kept")
		r.Header.Set("User-Agent", "test")
	})
	want := "POST shop.example /a%2Fb//c?x=1;y=%zz hello\n" +
		"X-Forwarded-For [127.0.0.1]\nX-Forwarded-Host [shop.example]\nX-Forwarded-Proto [http]\nX-Real-Ip [127.0.0.1]\nForwarded []\nX-Own [kept]\nUser-Agent [test]\n"
	if got.body != want {
		t.Errorf("the server got\n%swant\n%s", got.body, want)
	}
}

// TestAnotherEndpointIsTried has one of two endpoints be dead: no request fails, not even one with a body.
func TestAnotherEndpointIsTried(t *testing.T) {
	backend := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	f := open(t, everything())
	f.route(backend.URL, dead(t))
	for i := range 40 {
		body := strings.Repeat(fmt.Sprint(i), 20_000)
		if got := f.do("POST", "/", body, nil); got.status != http.StatusOK || got.body != body {
			t.Fatalf("request %d: %d, %d bytes of %d", i, got.status, len(got.body), len(body))
		}
	}
}

// TestWhatWasSentIsNotSentTwice has a server hang up on requests that it has read: only what changes nothing is tried again.
func TestWhatWasSentIsNotSentTwice(t *testing.T) {
	var sent atomic.Int64
	hangUp := func(_ http.ResponseWriter, r *http.Request) {
		sent.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}
	f := open(t, everything())
	f.route(serve(t, hangUp).URL, serve(t, hangUp).URL, serve(t, hangUp).URL)
	if got := f.do("POST", "/", "pay", nil); got.status != http.StatusBadGateway || sent.Load() != 1 {
		t.Errorf("POST: %d, sent %d times", got.status, sent.Load())
	}
	sent.Store(0)
	if got := f.do("GET", "/", "", nil); got.status != http.StatusBadGateway || sent.Load() != 2 {
		t.Errorf("GET: %d, sent %d times", got.status, sent.Load())
	}
}

// A short-lived server ends as soon as it is told, like a program that does not handle its signal: only requests that it has
// already taken are answered.
type shortLived struct {
	*http.Server
	address string
	busy    sync.WaitGroup
}

func begin(t *testing.T) *shortLived {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &shortLived{address: l.Addr().String()}
	s.Server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})}
	s.busy.Go(func() { _ = s.Serve(l) })
	return s
}

func (s *shortLived) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = s.Shutdown(ctx)
	s.busy.Wait()
}

// TestWithdrawnEndpointsGetNothing replaces all endpoints again and again under load, each ending when its withdrawal has
// been taken in. No request may fail, of either kind.
func TestWithdrawnEndpointsGetNothing(t *testing.T) {
	f := open(t, everything())
	old := []*shortLived{begin(t), begin(t)}
	f.route(old[0].address, old[1].address)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var done, failed atomic.Int64
	for i := range 8 {
		load.Go(func() {
			for ctx.Err() == nil {
				body := strings.Repeat("x", i%2*100)
				r, _ := http.NewRequestWithContext(t.Context(), map[bool]string{true: "GET", false: "POST"}[body == ""], f.URL, strings.NewReader(body))
				answer, err := f.Client().Do(r)
				if err != nil {
					failed.Add(1)
					continue
				}
				said, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if done.Add(1); err != nil || answer.StatusCode != http.StatusOK || string(said) != body {
					failed.Add(1)
					t.Errorf("%s: %s: %v", r.Method, answer.Status, err)
				}
			}
		})
	}
	for range 30 {
		next := []*shortLived{begin(t), begin(t)}
		f.route(old[0].address, next[0].address)
		old[1].end()
		f.route(next[0].address, next[1].address)
		old[0].end()
		old = next
		for before := done.Load(); done.Load() < before+100; {
			if failed.Load() > 0 {
				break
			}
		}
	}
	stop()
	load.Wait()
	f.SetRoutes(t.Context(), api.RouteTable{})
	old[0].end()
	old[1].end()
	if failed.Load() > 0 || done.Load() < 3000 {
		t.Errorf("%d of %d requests failed", failed.Load(), done.Load())
	}
}

func TestClientsStay(t *testing.T) {
	var pool pool
	pool.sticky = true
	for i := range 10 {
		pool.endpoints = append(pool.endpoints, newEndpoint(endpointKey{uid: fmt.Sprint("pod-", i)}))
	}
	const clients = 2000
	first, share, now := map[string]*endpoint{}, map[*endpoint]int{}, time.Now()
	for i := range clients {
		client := fmt.Sprint("10.0.0.", i)
		first[client] = pool.pick(client, nil, now)
		share[first[client]]++
	}
	for e, n := range share {
		if len(share) != 10 || n < clients/20 || n > clients/5 {
			t.Errorf("%s has %d of %d clients", e.key.uid, n, clients)
		}
	}
	gone := pool.endpoints[3]
	pool.endpoints = append(pool.endpoints[:3:3], pool.endpoints[4:]...)
	for client, e := range first {
		if e != gone && pool.pick(client, nil, now) != e {
			t.Errorf("%s moved though its endpoint is there", client)
		}
	}
}

// TestStreams reads an answer as it is made, and speaks both ways over a connection that is taken over.
func TestStreams(t *testing.T) {
	next := make(chan string)
	backend := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Content-Length", "6")
			for part := range next {
				_, _ = io.WriteString(w, part)
				_ = http.NewResponseController(w).Flush()
			}
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := buffered.ReadString('\n')
		_, _ = io.WriteString(conn, "echo "+line)
	})
	f := open(t, everything())
	f.route(backend.URL)

	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL, nil)
	go func() { next <- "one" }()
	answer, err := f.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	part := make([]byte, 3)
	for _, want := range []string{"one", "two"} {
		if _, err := io.ReadFull(answer.Body, part); err != nil || string(part) != want {
			t.Fatalf("%q, %v", part, err)
		}
		if want == "one" {
			next <- "two" // only now: what came before was not held back
		}
	}
	close(next)

	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	reader := bufio.NewReader(conn)
	switched, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer switched.Body.Close()
	if switched.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(switched.Status)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := reader.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// TestH2C speaks HTTP/2 to endpoints whose service says so, and to them alone.
func TestH2C(t *testing.T) {
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		fmt.Fprint(w, r.ProtoMajor)
		_ = http.NewResponseController(w).Flush() // of known length, there would be no place for a trailer in HTTP/1
		w.Header().Set("Grpc-Status", "0")
	}))
	backend.Config.Protocols = new(http.Protocols)
	backend.Config.Protocols.SetHTTP1(true)
	backend.Config.Protocols.SetUnencryptedHTTP2(true)
	backend.Start()
	t.Cleanup(backend.Close)
	for _, h2c := range []bool{true, false} {
		rules := everything()
		rules.Hosts[0].Paths[0].H2C = h2c
		f := open(t, rules)
		f.route(backend.URL)
		got := f.do("POST", "/", "hello", nil)
		if want := map[bool]string{true: "2", false: "1"}[h2c]; got.body != want || got.trailer.Get("Grpc-Status") != "0" {
			t.Errorf("h2c %t: HTTP/%s, trailer %v", h2c, got.body, got.trailer)
		}
	}
}
