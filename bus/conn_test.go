package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/bus/embedded"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The server leaves these to end by themselves after its shutdown.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

// patience bounds how long a test waits for what must come.
const patience = 15 * time.Second

// A site is a server and the ways to reach it.
type site struct {
	controller, node, operator bus.Options
	stop                       func()
	restart                    func(wipe bool)
}

// sites are the servers that the conformance suite runs against.
var sites = map[string]func(t *testing.T) *site{
	"embedded": embeddedSite,
	"external": externalSite,
}

func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// embeddedSite is the server as "headway server" runs it: the controller without TCP, the others with passwords.
func embeddedSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	o := embedded.Options{Dir: dir, Listen: "127.0.0.1:0", Logger: testLogger(t)}
	s := startEmbedded(t, o)
	load := func(user string) bus.Options {
		c, err := bus.LoadCredentials(embedded.CredentialsPath(dir, user))
		if err != nil {
			t.Fatal(err)
		}
		return bus.Options{Credentials: c, Name: user, Logger: testLogger(t).With("user", user)}
	}
	o.Listen = s.ClientURL()[len("nats://"):]
	// Over TCP, so that the connection outlives the server as it would not within one process.
	return &site{
		controller: load("controller"), node: load("node"), operator: load("operator"),
		stop: func() { s.Shutdown() },
		restart: func(wipe bool) {
			s.Shutdown()
			if wipe {
				removeAll(t, dir+"/store")
			}
			s = startEmbedded(t, o)
		},
	}
}

func startEmbedded(t *testing.T, o embedded.Options) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// externalSite is a plain NATS server with JetStream, as an operator might have it: no users, no limits raised.
func externalSite(t *testing.T) *site {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	s := startExternal(t, o)
	connect := func(name string) bus.Options {
		return bus.Options{Credentials: bus.Credentials{URL: s.ClientURL()}, Name: name, Logger: testLogger(t).With("user", name)}
	}
	return &site{
		controller: connect("controller"), node: connect("node"), operator: connect("operator"),
		stop: func() { s.Shutdown(); s.WaitForShutdown() },
		restart: func(wipe bool) {
			s.Shutdown()
			s.WaitForShutdown()
			if wipe {
				removeAll(t, o.StoreDir+"/jetstream")
			}
			o = o.Clone() // with the port that it has
			s = startExternal(t, o)
		},
	}
}

func startExternal(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

func connect(t *testing.T, o bus.Options) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// keeper is a controller's connection with every bucket in place.
func keeper(t *testing.T, s *site) *bus.Conn {
	t.Helper()
	c := connect(t, s.controller)
	if err := c.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// each runs a test against every kind of server.
func each(t *testing.T, test func(t *testing.T, s *site)) {
	for name, start := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// A recorder collects what a watch delivers.
type recorder[T any] struct {
	mu      sync.Mutex
	changed chan struct{}
	all     []T
}

func newRecorder[T any]() *recorder[T] { return &recorder[T]{changed: make(chan struct{})} }

func (r *recorder[T]) add(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, v)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder[T]) list() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]T(nil), r.all...)
}

// await waits until any delivery satisfies ok, and returns the first that does.
func (r *recorder[T]) await(t *testing.T, what string, ok func(T) bool) T {
	t.Helper()
	deadline := time.After(patience)
	for next := 0; ; {
		r.mu.Lock()
		all, changed := r.all, r.changed
		r.mu.Unlock()
		for ; next < len(all); next++ {
			if ok(all[next]) {
				return all[next]
			}
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: not within %s; got %+v", what, patience, all)
		}
	}
}

// watching runs a watch until the test ends, and checks that it ends then and only then.
func watching[T any](t *testing.T, watch func(ctx context.Context, fn func(T)) error) *recorder[T] {
	t.Helper()
	r := newRecorder[T]()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- watch(ctx, r.add) }()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("a watch ended early: %v", err)
		default:
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, bus.ErrUnavailable) {
				t.Errorf("a watch ended with %v", err)
			}
		}
		cancel()
	})
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func assignment(node string, sequence uint64) api.Assignment {
	return api.Assignment{Node: node, Term: 1, Sequence: sequence, Commit: "abc"}
}

// awaitConnected waits until the connection is back.
func awaitConnected(t *testing.T, c *bus.Conn) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !c.Connected() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("the connection does not come back")
		}
	}
}

// awaitMore waits for a delivery after the first so many.
func awaitMore[T any](t *testing.T, r *recorder[T], after int, ok func(T) bool) {
	t.Helper()
	n := 0
	r.await(t, "a delivery after the store was lost", func(v T) bool {
		n++
		return n > after && ok(v)
	})
}

// deleteBuckets deletes every store while the server and all connections go on.
func deleteBuckets(t *testing.T, s *site) {
	t.Helper()
	must(t, keeper(t, s).DeleteStreams(t.Context()))
}
