package embedded_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, o embedded.Options) *embedded.Server {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	s, err := embedded.Start(o)
	must(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, o bus.Options) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), o)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// as connects with the credentials that a server has written for a user.
func as(t *testing.T, dir, user string) *bus.Conn {
	t.Helper()
	c, err := bus.LoadCredentials(embedded.CredentialsPath(dir, user))
	must(t, err)
	return connect(t, bus.Options{Credentials: c})
}

// raw is a plain NATS connection with the credentials of a user, for what headway's own client does not do.
func raw(t *testing.T, dir, user string) *nats.Conn {
	t.Helper()
	c, err := bus.LoadCredentials(embedded.CredentialsPath(dir, user))
	must(t, err)
	nc, err := nats.Connect(c.URL, nats.UserInfo(c.User, c.Password), nats.CustomInboxPrefix("_INBOX_"+user),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // refusals are what is tested
	must(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// TestCredentials writes three files that only their owner can read, keeps the passwords over a restart, and lets
// nobody in without.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Options{Dir: dir})
	for _, user := range []string{"controller", "node", "operator"} {
		path := embedded.CredentialsPath(dir, user)
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		c, err := bus.LoadCredentials(path)
		must(t, err)
		if c.URL != s.ClientURL() || c.User != user || len(c.Password) < 32 {
			t.Errorf("%s holds URL %q, user %q and a password of %d letters", path, c.URL, c.User, len(c.Password))
		}
		as(t, dir, user)
	}
	for name, c := range map[string]bus.Credentials{
		"nobody":         {URL: s.ClientURL()},
		"wrong password": {URL: s.ClientURL(), User: "node", Password: "guess"},
	} {
		if _, err := bus.Connect(t.Context(), bus.Options{Credentials: c}); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}
	before, err := bus.LoadCredentials(embedded.CredentialsPath(dir, "node"))
	must(t, err)
	s.Shutdown()
	start(t, embedded.Options{Dir: dir})
	after, err := bus.LoadCredentials(embedded.CredentialsPath(dir, "node"))
	must(t, err)
	if before.Password != after.Password {
		t.Error("the password changed with a restart")
	}
}

// TestNewCredentials lets a node that runs on into a server that was set up anew, once it has the new password.
func TestNewCredentials(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Options{Dir: dir})
	node := as(t, dir, "node")
	address := strings.TrimPrefix(s.ClientURL(), "nats://")
	s.Shutdown()
	must(t, os.RemoveAll(dir))
	s = start(t, embedded.Options{Dir: dir, Listen: address})
	controller := connect(t, s.Options(bus.Options{}))
	must(t, controller.Keep(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for !node.Connected() {
		select {
		case <-ctx.Done():
			t.Fatal("the node does not come back")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestPermissions tries what a user must not do.
func TestPermissions(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Options{Dir: dir})
	controller := connect(t, s.Options(bus.Options{Name: "controller"}))
	must(t, controller.Keep(t.Context()))
	route := api.Route{Service: api.Ref{Kind: "Service", Namespace: "shop", Name: "a"}}
	digest := api.Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") // of nothing

	denied := func(user, what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s may %s", user, what)
		}
	}
	for _, user := range []string{"node", "operator"} {
		c := as(t, dir, user)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		began := time.Now()
		err := c.PutAssignment(ctx, api.Assignment{Node: "n1", Term: 99})
		if !errors.Is(err, bus.ErrDenied) || time.Since(began) > 2*time.Second {
			t.Errorf("an assignment of %s: after %s: %v", user, time.Since(began), err)
		}
		denied(user, "write a report", c.PutReport(ctx, api.Report{}))
		denied(user, "write a blob", c.PutBlob(ctx, digest, nil))
		_, err = c.PutRoutes(ctx, 99, []api.Route{route}, nil)
		denied(user, "write routes", err)
		denied(user, "publish the controller's events", c.PublishEvent(ctx, api.Event{Origin: "controller", Kind: "Lie"}))
		cancel()
	}
	operator, node := as(t, dir, "operator"), as(t, dir, "node")
	denied("operator", "write a status", operator.PutStatus(t.Context(), api.NodeStatus{Node: "n1"}))
	denied("operator", "write a node", operator.PutNode(t.Context(), api.NodeInfo{Name: "n1"}))
	must(t, node.PutStatus(t.Context(), api.NodeStatus{Node: "n1"}))
	must(t, node.PublishEvent(t.Context(), api.Event{Origin: "node/n1", Kind: "Started"}))

	state, err := controller.State(t.Context())
	must(t, err)
	if len(state.Assignments) != 0 || len(state.Routes) != 0 || state.Report != nil || len(state.Nodes) != 0 {
		t.Errorf("something was written: %+v", state)
	}
}

// TestDetours has a node try to have the server write for it what it may not write itself: by an answer, or a consumer's
// deliveries, to the subject that assignments are stored by.
func TestDetours(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Options{Dir: dir})
	controller := connect(t, s.Options(bus.Options{}))
	must(t, controller.Keep(t.Context()))
	nc := raw(t, dir, "node")

	forged, err := json.Marshal(api.Assignment{Node: "victim", Term: 99})
	must(t, err)
	_, err = nc.Request("$KV.status.n1", forged, 5*time.Second)
	must(t, err)
	get := []byte(`{"last_by_subj":"$KV.status.n1"}`)
	stored, err := nc.Request("$JS.API.DIRECT.GET.KV_status", get, 5*time.Second)
	must(t, err)
	if !bytes.Equal(stored.Data, forged) {
		t.Fatalf("the status reads %q", stored.Data)
	}
	must(t, nc.PublishRequest("$JS.API.DIRECT.GET.KV_status", "$KV.assignments.victim", get))
	must(t, nc.PublishRequest("$KV.status.n2", "$KV.assignments.victim", forged))
	must(t, nc.PublishRequest("$JS.API.STREAM.INFO.KV_status", "$KV.assignments.victim", nil))
	for _, subject := range []string{"$JS.API.CONSUMER.CREATE.KV_status", "$JS.API.CONSUMER.DURABLE.CREATE.KV_status.x"} {
		request := []byte(`{"stream_name":"KV_status","config":{"durable_name":"x","deliver_subject":"$KV.assignments.victim","ack_policy":"none"}}`)
		if answer, err := nc.Request(subject, request, 200*time.Millisecond); err == nil {
			t.Errorf("a node makes a consumer: %s", answer.Data)
		}
	}
	must(t, nc.Flush())
	// Answers come in the order of requests: after this one, all before have been given.
	_, err = nc.Request("$JS.API.DIRECT.GET.KV_status", get, 5*time.Second)
	must(t, err)
	info, err := raw(t, dir, "controller").Request("$JS.API.STREAM.INFO.KV_assignments", nil, 5*time.Second)
	must(t, err)
	if !bytes.Contains(info.Data, []byte(`"last_seq":0`)) {
		t.Errorf("a node has written an assignment: %s", info.Data)
	}
}

// TestDamagedStore moves a store that cannot be read aside, says so, and begins a new one.
func TestDamagedStore(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, store string){
		"a stream's description": func(t *testing.T, store string) {
			must(t, os.WriteFile(filepath.Join(store, "jetstream/control/streams/KV_routes/meta.inf"), []byte("garbage"), 0o600))
		},
		"no description": func(t *testing.T, store string) {
			must(t, os.Remove(filepath.Join(store, "jetstream/control/streams/KV_leader/meta.sum")))
		},
		"a file for a folder": func(t *testing.T, store string) {
			must(t, os.RemoveAll(filepath.Join(store, "jetstream")))
			must(t, os.WriteFile(filepath.Join(store, "jetstream"), []byte("garbage"), 0o600))
		},
		"everything": func(t *testing.T, store string) {
			must(t, filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				return os.WriteFile(path, []byte("garbage"), 0o600)
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := start(t, embedded.Options{Dir: dir})
			c := connect(t, s.Options(bus.Options{}))
			must(t, c.Keep(t.Context()))
			must(t, c.PutAssignment(t.Context(), api.Assignment{Node: "n1", Term: 1}))
			c.Close()
			s.Shutdown()
			damage(t, filepath.Join(dir, "store"))

			var log bytes.Buffer
			s = start(t, embedded.Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			c = connect(t, s.Options(bus.Options{}))
			must(t, c.Keep(t.Context()))
			must(t, c.PutAssignment(t.Context(), api.Assignment{Node: "n1", Term: 2}))
			aside, err := filepath.Glob(filepath.Join(dir, "store.damaged-*"))
			must(t, err)
			if len(aside) != 1 || !strings.Contains(log.String(), "moved aside") {
				t.Errorf("moved aside: %v; log: %s", aside, log.String())
			}
		})
	}
}

// TestDamagedMessages loses what cannot be read, and goes on.
func TestDamagedMessages(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Options{Dir: dir})
	c := connect(t, s.Options(bus.Options{}))
	must(t, c.Keep(t.Context()))
	must(t, c.PutAssignment(t.Context(), api.Assignment{Node: "n1", Term: 1}))
	c.Close()
	s.Shutdown()
	blocks, err := filepath.Glob(filepath.Join(dir, "store/jetstream/control/streams/KV_assignments/msgs/*.blk"))
	must(t, err)
	if len(blocks) == 0 {
		t.Fatal("there is nothing to damage")
	}
	for _, block := range blocks {
		must(t, os.WriteFile(block, bytes.Repeat([]byte("garbage"), 100), 0o600))
	}
	s = start(t, embedded.Options{Dir: dir})
	c = connect(t, s.Options(bus.Options{}))
	must(t, c.Keep(t.Context()))
	must(t, c.PutAssignment(t.Context(), api.Assignment{Node: "n1", Term: 2}))
	state, err := c.State(t.Context())
	must(t, err)
	if len(state.Assignments) != 1 || state.Assignments[0].Term != 2 {
		t.Errorf("assignments are %+v", state.Assignments)
	}
}

// TestStoreKept has what was stored after an orderly restart, and nothing moved aside.
func TestStoreKept(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		s := start(t, embedded.Options{Dir: dir})
		c := connect(t, s.Options(bus.Options{}))
		must(t, c.Keep(t.Context()))
		state, err := c.State(t.Context())
		must(t, err)
		if len(state.Nodes) != i {
			t.Errorf("start %d finds %d nodes", i, len(state.Nodes))
		}
		must(t, c.PutNode(t.Context(), api.NodeInfo{Name: strings.Repeat("n", i+1)}))
		c.Close()
		s.Shutdown()
	}
	if aside, err := filepath.Glob(filepath.Join(dir, "store.damaged-*")); err != nil || len(aside) != 0 {
		t.Errorf("moved aside: %v, %v", aside, err)
	}
}

// TestListen refuses what cannot be listened on, and tells others an address that they can use.
func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for _, listen := range []string{"nonsense", "127.0.0.1:x", taken.Addr().String()} {
		dir := t.TempDir()
		if s, err := embedded.Start(embedded.Options{Dir: dir, Listen: listen}); err == nil {
			s.Shutdown()
			t.Errorf("it listens on %q", listen)
		}
		if aside, err := filepath.Glob(filepath.Join(dir, "store.damaged-*")); err != nil || len(aside) != 0 {
			t.Errorf("the store was moved aside because of the address %q", listen)
		}
	}
	s := start(t, embedded.Options{Dir: t.TempDir(), Advertise: "bus.example:4222"})
	if s.ClientURL() != "nats://bus.example:4222" {
		t.Errorf("the address for others is %s", s.ClientURL())
	}
}
