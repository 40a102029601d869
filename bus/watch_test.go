package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func removeAll(t *testing.T, path string) {
	t.Helper()
	must(t, os.RemoveAll(path))
}

func watchAssignment(c *bus.Conn, node string) func(context.Context, func(api.Assignment)) error {
	return func(ctx context.Context, fn func(api.Assignment)) error { return c.WatchAssignment(ctx, node, fn) }
}

func sequence(n uint64) func(api.Assignment) bool {
	return func(a api.Assignment) bool { return a.Sequence == n }
}

// TestLevels has each part say its level, and the other see it: what was there before, and what comes.
func TestLevels(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		controller, node := keeper(t, s), connect(t, s.node)
		ctx := t.Context()

		must(t, controller.PutAssignment(ctx, assignment("n1", 1)))
		assignments := watching(t, watchAssignment(node, "n1"))
		others := watching(t, watchAssignment(node, "n2"))
		assignments.await(t, "the assignment that was there", sequence(1))
		must(t, controller.PutAssignment(ctx, assignment("n1", 2)))
		assignments.await(t, "the next assignment", sequence(2))
		if got := others.list(); len(got) != 0 {
			t.Errorf("a node without an assignment was given %v", got)
		}

		nodes := watching(t, node.WatchNodes)
		must(t, node.PutNode(ctx, api.NodeInfo{Name: "n2"}))
		must(t, node.PutNode(ctx, api.NodeInfo{Name: "n1"}))
		all := nodes.await(t, "both nodes", func(n []api.NodeInfo) bool { return len(n) == 2 })
		if all[0].Name != "n1" || all[1].Name != "n2" {
			t.Errorf("nodes are not in order: %v", all)
		}

		statuses := watching(t, controller.WatchStatuses)
		must(t, node.PutStatus(ctx, api.NodeStatus{Node: "n1", Sequence: 7}))
		statuses.await(t, "the status", func(s api.NodeStatus) bool { return s.Node == "n1" && s.Sequence == 7 })

		usages := watching(t, controller.WatchUsage)
		said := false // it is not stored: it may be said before anybody listens
		for deadline := time.Now().Add(10 * time.Second); !said && time.Now().Before(deadline); {
			must(t, node.PutUsage(ctx, api.NodeUsage{Node: "n1", Containers: []api.ContainerUsage{{UID: "u1", Usage: api.Usage{CPU: 7}}}}))
			said = slices.ContainsFunc(usages.list(), func(u api.NodeUsage) bool { return u.Node == "n1" && u.Containers[0].CPU == 7 })
		}
		if !said {
			t.Error("what a node says of its containers does not come")
		}

		beats := watching(t, controller.WatchBeats)
		deadline := time.Now().Add(patience)
		for len(beats.list()) == 0 && time.Now().Before(deadline) {
			// Nothing says when a subscription to what is not stored has come through: beat as a node does.
			must(t, node.Beat(ctx, api.Heartbeat{Node: "n1", Term: 3}))
		}
		beats.await(t, "a heartbeat", func(h api.Heartbeat) bool { return h == api.Heartbeat{Node: "n1", Term: 3} })

		grants := watching(t, func(ctx context.Context, fn func(api.Grant)) error { return node.WatchGrants(ctx, "n1", fn) })
		answer := api.Grant{Node: "n1", Beat: 4, Held: true, Lease: time.Minute}
		for len(grants.list()) == 0 && time.Now().Before(deadline) {
			must(t, controller.Answer(ctx, api.Grant{Node: "n2"}))
			must(t, controller.Answer(ctx, answer))
		}
		grants.await(t, "an answer", func(g api.Grant) bool { return g == answer })

		reports := watching(t, connect(t, s.operator).WatchReport)
		must(t, controller.PutReport(ctx, api.Report{Term: 5}))
		reports.await(t, "the report", func(r api.Report) bool { return r.Term == 5 })

		state, err := connect(t, s.operator).State(ctx)
		must(t, err)
		if len(state.Nodes) != 2 || len(state.Statuses) != 1 || len(state.Assignments) != 1 || state.Report == nil || state.RouteRevision != 0 {
			t.Errorf("state is %+v", state)
		}
	})
}

// TestWatchesSurvive goes on over a restart of the server, with its store, with an empty one, and with the store deleted
// under a server that runs on.
func TestWatchesSurvive(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		controller, node := keeper(t, s), connect(t, s.node)
		ctx := t.Context()
		must(t, node.PutNode(ctx, api.NodeInfo{Name: "n1", PodCIDR: "10.1.0.0/24"}))
		must(t, node.PutStatus(ctx, api.NodeStatus{Node: "n1", Sequence: 41}))
		for i := range uint64(50) {
			must(t, controller.PutAssignment(ctx, assignment("n1", i)))
		}
		assignments := watching(t, watchAssignment(node, "n1"))
		statuses := watching(t, controller.WatchStatuses)
		nodes := watching(t, controller.WatchNodes)
		assignments.await(t, "the first assignment", sequence(49))
		statuses.await(t, "the first status", func(s api.NodeStatus) bool { return s.Sequence == 41 })
		nodes.await(t, "the node", func(n []api.NodeInfo) bool { return len(n) == 1 })

		put := func(n uint64) {
			t.Helper()
			deadline := time.Now().Add(patience)
			for err := controller.PutAssignment(ctx, assignment("n1", n)); err != nil; err = controller.PutAssignment(ctx, assignment("n1", n)) {
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
				awaitConnected(t, controller)
			}
			assignments.await(t, fmt.Sprintf("assignment %d", n), sequence(n))
		}

		s.restart(false)
		put(100)
		before, count := len(statuses.list()), len(nodes.list())
		s.restart(true)
		// The node says again by itself what it is and how it is.
		awaitMore(t, statuses, before, func(s api.NodeStatus) bool { return s.Sequence == 41 })
		awaitMore(t, nodes, count, func(n []api.NodeInfo) bool { return len(n) == 1 && n[0].PodCIDR == "10.1.0.0/24" })
		put(101)

		before = len(statuses.list())
		deleteBuckets(t, s)
		awaitMore(t, statuses, before, func(s api.NodeStatus) bool { return s.Sequence == 41 })
		put(102)

		for _, a := range assignments.list() {
			if a.Sequence < 49 {
				t.Errorf("an older assignment was delivered: %d", a.Sequence)
			}
		}
		if !slices.IsSortedFunc(assignments.list(), func(a, b api.Assignment) int { return int(a.Sequence) - int(b.Sequence) }) {
			t.Error("assignments went back")
		}
	})
}

// TestWatchCoalesces shows a slow reader only the newest of what came meanwhile.
func TestWatchCoalesces(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		controller, node := keeper(t, s), connect(t, s.node)
		ctx := t.Context()
		must(t, controller.PutAssignment(ctx, assignment("n1", 0)))
		busy, resume := make(chan struct{}), make(chan struct{})
		calls := 0
		got := watching(t, func(ctx context.Context, fn func(api.Assignment)) error {
			return node.WatchAssignment(ctx, "n1", func(a api.Assignment) {
				if calls++; calls == 1 {
					close(busy)
					<-resume
				}
				fn(a)
			})
		})
		<-busy
		for i := uint64(1); i <= 500; i++ {
			must(t, controller.PutAssignment(ctx, assignment("n1", i)))
		}
		must(t, connect(t, s.node).PutNode(ctx, api.NodeInfo{Name: "n1"})) // all has been sent
		close(resume)
		got.await(t, "the newest", sequence(500))
		if n := len(got.list()); n > 20 {
			t.Errorf("a watch that was busy was called %d times for 500 changes", n)
		}
	})
}

// TestWait lets a node start before there is a bus, and says what it has said meanwhile once there is.
func TestWait(t *testing.T) {
	s := externalSite(t)
	address := s.node.Credentials.URL
	s.stop()
	o := s.node
	if _, err := bus.Connect(t.Context(), o); err == nil {
		t.Errorf("without Wait, it connects to nothing at %s", address)
	}
	o.Wait = true
	c := connect(t, o)
	if err := c.PutNode(t.Context(), api.NodeInfo{Name: "n1"}); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("storing without a bus: %v", err)
	}
	if err := c.Beat(t.Context(), api.Heartbeat{Node: "n1"}); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("a heartbeat without a bus: %v", err)
	}
	s.restart(false)
	nodes := watching(t, keeper(t, s).WatchNodes)
	nodes.await(t, "the node that started first", func(n []api.NodeInfo) bool { return len(n) == 1 })
}

// TestRecheck finds what a live message should have told, and did not.
func TestRecheck(t *testing.T) {
	s := externalSite(t)
	c, node := keeper(t, s), connect(t, s.node)
	node.SetRecheck(20 * time.Millisecond)
	must(t, c.PutAssignment(t.Context(), assignment("n1", 1)))
	got := watching(t, watchAssignment(node, "n1"))
	got.await(t, "the first", sequence(1))
	must(t, c.SilenceBucket(t.Context(), "assignments"))
	must(t, c.PutAssignment(t.Context(), assignment("n1", 2)))
	got.await(t, "the one that was lost on its way", sequence(2))
}

// TestForgedHeaders reads what the server says of a message, and not what its writer has put there. What is forged is of a node
// whose status nobody else says: a connection says its own again when stores were made.
func TestForgedHeaders(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, node := keeper(t, s), connect(t, s.node)
		statuses := watching(t, c.WatchStatuses)
		must(t, node.PutStatus(t.Context(), api.NodeStatus{Node: "n1", Sequence: 1}))
		statuses.await(t, "the status of n1", func(s api.NodeStatus) bool { return s.Node == "n1" })
		forge := func(data string) {
			forged := &nats.Msg{Subject: "$KV.status.n2", Data: []byte(data), Header: nats.Header{
				"Nats-Sequence": {"999999"}, "Nats-Subject": {"$KV.status.n1"}, "Nats-Time-Stamp": {"never"}, "Status": {"503"},
			}}
			_, err := node.NATS().RequestMsg(forged, patience)
			must(t, err)
		}
		forge("")                         // as if nobody answered
		for sequence := range uint64(3) { // a later one is taken though the one before said that it is of a late sequence
			forge(fmt.Sprintf(`{"node":"n2","sequence":%d}`, sequence))
			statuses.await(t, "the status of n2", func(s api.NodeStatus) bool { return s.Node == "n2" && s.Sequence == sequence })
		}
		state, err := c.State(t.Context())
		must(t, err)
		if got := state.Statuses; len(got) != 2 || got[0].Node != "n1" || got[0].Sequence != 1 || got[1].Node != "n2" || got[1].Sequence != 2 {
			t.Errorf("the statuses are %+v", got)
		}
	})
}

// TestNames refuses names that would mean something in a subject.
func TestNames(t *testing.T) {
	c := connect(t, externalSite(t).node)
	for _, name := range []string{"", "*", ">", "a.*", "a..b", ".a", "a b", "A", "-a", strings.Repeat("a", 254)} {
		if err := c.PutNode(t.Context(), api.NodeInfo{Name: name}); err == nil || errors.Is(err, bus.ErrNotFound) {
			t.Errorf("a node is named %q: %v", name, err)
		}
		if err := c.WatchAssignment(t.Context(), name, nil); err == nil {
			t.Errorf("the assignment of %q is watched", name)
		}
	}
}

// TestTooLarge says what to do when a value does not fit into a message.
func TestTooLarge(t *testing.T) {
	s := externalSite(t)
	c := keeper(t, s)
	a := assignment("n1", 1)
	for i := range 40_000 {
		id := api.PodIdentity{Pod: api.PodRef("default", fmt.Sprintf("p-%x", i*2654435761)), UID: fmt.Sprintf("%x", i*40503*2654435761)}
		a.Pods = append(a.Pods, api.Placement{PodIdentity: id, Node: "n1"})
	}
	if err := c.PutAssignment(t.Context(), a); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Fatalf("an assignment that is too large: %v", err)
	}
	// Compressed, a tenth of it fits, though not as it is.
	a.Pods = a.Pods[:8_000]
	must(t, c.PutAssignment(t.Context(), a))
	got := watching(t, watchAssignment(c, "n1"))
	got.await(t, "the large assignment", func(a api.Assignment) bool { return len(a.Pods) == 8_000 })
}
