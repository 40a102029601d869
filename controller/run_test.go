package controller

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"headway.dev/headway/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A cluster is a controller that runs, with machines that run, in a bubble of its own time.
type cluster struct {
	t        *testing.T
	bus      *fakeBus
	source   *fakeSource
	compiler fakeCompiler
	machines []*machine
	running  sync.WaitGroup
	ctx      context.Context
	kill     context.CancelFunc // ends the controller
}

// inCluster runs a test in a cluster whose machines have joined. The controller is not running yet.
func inCluster(t *testing.T, machines int, test func(c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &cluster{t: t, bus: newFakeBus(), source: &fakeSource{}, ctx: ctx}
		for i := range machines {
			m := newMachine(c.bus, fmt.Sprintf("n%d", i+1))
			c.machines = append(c.machines, m)
			c.running.Go(func() { m.run(ctx, time.Second) })
		}
		synctest.Wait()
		test(c)
		cancel()
		c.running.Wait()
		if len(c.bus.misdeeds) > 0 {
			t.Errorf("misdeeds: %v", c.bus.misdeeds)
		}
	})
}

// start runs a controller.
func (c *cluster) start() {
	c.t.Helper()
	controller, err := New(Config{ID: "test", Repository: "test", Source: c.source, Compiler: c.compiler, Bus: c.bus, Sealer: fakeSeal})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	c.kill = cancel
	c.running.Go(func() {
		if err := controller.Run(ctx); !errors.Is(err, context.Canceled) {
			c.t.Errorf("Run ended with %v", err)
		}
	})
	synctest.Wait()
}

// settle lets a fresh store's controller see that no more machines turn up.
func (c *cluster) settle() { c.wait(3 * time.Second) }

// wait lets time go by, and all that follows from it happen.
func (c *cluster) wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// commit makes a new head, and lets all that follows from it happen but what needs time.
func (c *cluster) commit(name string, lines ...string) {
	c.source.commit(name, lines...)
	synctest.Wait()
}

// runs lists what all machines run.
func (c *cluster) runs() string {
	var all []string
	for _, m := range c.machines {
		m.do(func() { all = append(all, m.String()) })
	}
	return strings.Join(all, " ")
}

// starts counts the pods that were ever started.
func (c *cluster) starts() int {
	n := 0
	for _, m := range c.machines {
		m.do(func() { n += len(m.started) })
	}
	return n
}

// pods counts the pods that run.
func (c *cluster) pods() int {
	n := 0
	for _, m := range c.machines {
		m.do(func() { n += len(m.pods) })
	}
	return n
}

// images lists the images that run, each once.
func (c *cluster) images() string {
	var images []string
	for _, m := range c.machines {
		m.do(func() {
			for _, p := range m.pods {
				images = append(images, p.Placement.Labels["image"])
			}
		})
	}
	slices.Sort(images)
	return strings.Join(slices.Compact(images), " ")
}

func (c *cluster) expect(what string, got, want any) {
	c.t.Helper()
	if !reflect.DeepEqual(got, want) {
		c.t.Errorf("%s: %v, want %v; %s\n%s", what, got, want, c.runs(), c.bus)
	}
}

func (c *cluster) report() api.Report {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.bus.report == nil {
		return api.Report{}
	}
	return *c.bus.report
}

// events counts the events of a kind.
func (c *cluster) events(kind string) int {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	n := 0
	for _, e := range c.bus.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

const (
	webV1 = "deployment web image=v1 replicas=3"
	webV2 = "deployment web image=v2 replicas=3"
)

// TestCommitNeedsNoTime: no timer stands between a commit and the end of its rollout, where pods are ready at once.
func TestCommitNeedsNoTime(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.start()
		c.settle()
		began := time.Now()
		c.commit("c1", webV1, "service web")
		c.expect("pods", c.pods(), 3)
		c.commit("c2", webV2, "service web")
		c.expect("pods", c.pods(), 3)
		c.expect("images", c.images(), "v2")
		c.expect("time passed", time.Since(began), time.Duration(0))
		r := c.report()
		c.expect("deployed", r.Deployed.Commit, "c2")
		c.expect("state", r.Workloads[0].State, api.RolloutComplete)
		if c.bus.blobs[r.Objects] == nil {
			t.Errorf("the report names objects %q, which are not in the store", r.Objects)
		}
		if !c.bus.complete {
			t.Error("the routes were never said to be complete")
		}
	})
}

// TestKilledController: another takes over, and nothing restarts.
func TestKilledController(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		before, store := c.runs(), c.bus.String()
		c.kill()
		c.wait(time.Minute)
		c.start()
		c.expect("runs", c.runs(), before)
		c.expect("store", c.bus.String(), store)
		c.wait(time.Minute)
		c.expect("starts", c.starts(), 3)
		c.expect("deployments told", c.events("Deployed"), 1)
		c.commit("c2", webV2, "service web")
		c.expect("images", c.images(), "v2")
	})
}

// TestLostStore: the machines' own reports are enough.
func TestLostStore(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		before, store := c.runs(), c.bus.String()
		c.kill()
		synctest.Wait()
		c.bus.lose()
		c.start()
		c.wait(time.Minute)
		c.expect("runs", c.runs(), before)
		c.expect("starts", c.starts(), 3)
		c.expect("store", c.bus.String(), store)
		c.commit("c2", webV2, "service web")
		c.expect("images", c.images(), "v2")
	})
}

// TestStoreLostUnderLeader: the bus comes back empty, and the lease goes on.
func TestStoreLostUnderLeader(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		before, store := c.runs(), c.bus.String()
		c.bus.lose()
		c.wait(2 * auditPeriod)
		c.expect("runs", c.runs(), before)
		c.expect("starts", c.starts(), 3)
		c.expect("store", c.bus.String(), store)
		c.commit("c2", webV2, "service web")
		c.expect("images", c.images(), "v2")
	})
}

// TestStoreSeenToBeLost: where the bus lists fewer nodes than before, the leader does not wait for the audit's time.
func TestStoreSeenToBeLost(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		before, store := c.runs(), c.bus.String()
		for _, m := range c.machines {
			m.do(func() { m.cut = true })
		}
		c.bus.lose()
		c.bus.turn.set(-1)
		synctest.Wait()
		for _, m := range c.machines {
			m.do(func() { m.cut = false })
		}
		c.wait(10 * time.Second)
		c.expect("runs", c.runs(), before)
		c.expect("starts", c.starts(), 3)
		c.expect("store", c.bus.String(), store)
	})
}

// TestLostLease: a leader that was deposed campaigns again.
func TestLostLease(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1)
		before := c.runs()
		c.bus.depose()
		c.wait(time.Second)
		c.expect("runs", c.runs(), before)
		c.commit("c2", webV2)
		c.expect("images", c.images(), "v2")
		c.expect("term", c.report().Term, api.Term(2))
	})
}

// TestBusFails at the beginning of a rule: the controller campaigns until it can read the state.
func TestBusFails(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		c.bus.faults["state"] = 5
		c.start()
		c.commit("c1", webV1)
		c.wait(time.Minute)
		c.expect("pods", c.pods(), 3)
	})
}

// TestOverwritten has the bus refuse a write of each kind because somebody else has written: the leader begins anew, and
// starts nothing twice.
func TestOverwritten(t *testing.T) {
	for _, kind := range []string{"assignment", "routes", "report"} {
		t.Run(kind, func(t *testing.T) {
			inCluster(t, 3, func(c *cluster) {
				c.start()
				c.settle()
				c.commit("c1", webV1, "service web")
				c.wait(10 * time.Second)
				c.bus.mu.Lock()
				c.bus.overwritten = kind
				c.bus.mu.Unlock()
				c.commit("c2", webV2, "service web")
				c.wait(time.Minute)
				c.expect("term", c.report().Term, api.Term(2))
				c.expect("images", c.images(), "v2")
				c.expect("starts", c.starts(), 6)
			})
		})
	}
}

// TestWritesFail: every kind of write fails some times, and nothing is lost.
func TestWritesFail(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.start()
		c.settle()
		for _, kind := range []string{"blob", "assignment", "routes", "complete", "report", "event"} {
			c.bus.mu.Lock()
			c.bus.faults[kind] = 3
			c.bus.mu.Unlock()
		}
		c.commit("c1", webV1, "service web")
		c.wait(time.Minute)
		c.expect("pods", c.pods(), 3)
		c.expect("deployed", c.report().Deployed.Commit, "c1")
		c.expect("refused", len(c.report().Refused), 0)
		c.expect("creations told", c.events("Created"), 3)
		c.commit("c2", webV2, "service web")
		c.expect("images", c.images(), "v2")
	})
}

// TestLostNode: its pods run elsewhere once its lease has passed, and not before; and it returns without a surprise.
func TestLostNode(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		lost := c.machines[0]
		lost.do(func() { lost.cut = true })
		c.wait(8 * time.Second)
		c.expect("starts before the lease has passed", c.starts(), 3)
		c.wait(3 * time.Second)
		c.expect("starts after", c.starts(), 4)
		c.expect("losses told", c.events("NodeLost"), 1)
		c.wait(time.Minute)
		lost.do(func() { lost.cut = false })
		c.wait(2 * time.Second)
		c.expect("pods", c.pods(), 3)
		c.expect("starts", c.starts(), 4)
		c.expect("returns told", c.events("NodeReady"), 1)
		for _, n := range c.report().Nodes {
			c.expect("state of "+n.Name, n.State, "Ready")
		}
	})
}

// TestDrainIsBounded: a machine that does not acknowledge routes holds the end of a pod up, for DrainTimeout and no longer.
func TestDrainIsBounded(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		deaf := c.machines[1]
		deaf.do(func() { deaf.deaf = true })
		c.commit("c2", "deployment web image=v1 replicas=2", "service web")
		c.expect("pods while one has not acknowledged", c.pods(), 3)
		c.wait(4900 * time.Millisecond)
		c.expect("pods just before the deadline", c.pods(), 3)
		c.wait(200 * time.Millisecond)
		c.expect("pods after it", c.pods(), 2)
		c.expect("timeouts told", c.events("DrainTimedOut"), 1)
	})
}

// TestNewestCommitWins: the compilation of an older one is ended, however long it would take.
func TestNewestCommitWins(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		cancelled := 0
		c.compiler.hold = func(ctx context.Context, text string) error {
			if !strings.Contains(text, "endless") {
				return nil
			}
			<-ctx.Done()
			cancelled++
			return ctx.Err()
		}
		c.start()
		c.settle()
		c.commit("c1", webV1)
		c.commit("c2", "deployment web image=endless")
		c.wait(time.Minute)
		c.expect("deployed", c.report().Deployed.Commit, "c1")
		c.commit("c3", webV2)
		c.expect("cancelled compilations", cancelled, 1)
		c.expect("images", c.images(), "v2")
		c.expect("deployed", c.report().Deployed.Commit, "c3")
	})
}

// TestCompilerFails: the machine's own trouble is tried again, and told.
func TestCompilerFails(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		failures := 0
		c.compiler.hold = func(_ context.Context, text string) error {
			if strings.Contains(text, "v2") && failures < 3 {
				failures++
				return errors.New("out of memory")
			}
			return nil
		}
		c.start()
		c.settle()
		c.commit("c1", webV1)
		c.commit("c2", webV2)
		c.expect("images", c.images(), "v1")
		if r := c.report().Refused; len(r) != 1 || !strings.Contains(r[0].Message, "out of memory") {
			t.Errorf("refused: %v", r)
		}
		c.wait(10 * time.Second)
		c.expect("images", c.images(), "v2")
		c.expect("refused", len(c.report().Refused), 0)
	})
}

// TestRepositoryFails: what is in force stays, whether or not the controller has ever seen the repository; and the next
// good commit deploys at once.
func TestRepositoryFails(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		before := c.runs()
		head := c.source.head
		c.source.fail(errors.New("branch main is gone"))
		c.wait(time.Minute)
		c.expect("runs", c.runs(), before)
		c.expect("failures told", c.events("RepositoryFailed"), 1)
		if r := c.report().Refused; len(r) != 1 || !strings.Contains(r[0].String(), "branch main is gone") {
			t.Errorf("refused: %v", r)
		}

		c.kill()
		synctest.Wait()
		c.start()
		c.wait(time.Minute)
		c.expect("runs after a restart", c.runs(), before)
		c.expect("deployed", c.report().Deployed.Commit, "c1")

		c.source.set(Update{Snapshot: head})
		synctest.Wait()
		c.expect("runs when it is back", c.runs(), before)
		c.expect("refused", len(c.report().Refused), 0)
		c.commit("c2", webV2, "service web")
		c.expect("images", c.images(), "v2")
		c.expect("starts", c.starts(), 6)
	})
}

// TestBadCommits of every sort delete and restart nothing, also over a restart of the controller.
func TestBadCommits(t *testing.T) {
	for name, lines := range map[string][]string{
		"broken":  {"error web: unexpected end"},
		"empty":   {},
		"partial": {"service web", "error web: no such field"},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 2, func(c *cluster) {
				c.start()
				c.settle()
				c.commit("c1", webV1, "service web")
				before, store := c.runs(), c.bus.String()
				c.commit("c2", lines...)
				c.wait(time.Minute)
				c.expect("runs", c.runs(), before)
				c.kill()
				synctest.Wait()
				c.start()
				c.wait(time.Minute)
				c.expect("runs after a restart", c.runs(), before)
				c.expect("store", c.bus.String(), store)
				c.expect("refusals told", c.events("Refused"), 1)
				c.expect("deployed", c.report().Deployed.Commit, "c1")
				c.commit("c3", webV2, "service web")
				c.expect("images", c.images(), "v2")
				c.expect("refused", len(c.report().Refused), 0)
			})
		})
	}
}

// TestIdle: where nothing changes nothing is written, and the report is not either.
func TestIdle(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		c.wait(time.Second)
		turn, _ := c.bus.turn.get()
		c.wait(time.Hour)
		after, _ := c.bus.turn.get()
		c.expect("writes in an hour", after-turn, 0)
	})
}

// TestBurst: what comes while a pass is under way costs one more, however much it is.
func TestBurst(t *testing.T) {
	b := newInbox()
	for i := range 1000 {
		b.status(api.NodeStatus{Node: "n1", Sequence: uint64(i)})
		b.beat(api.Heartbeat{Node: "n1"})
	}
	<-b.wake
	select {
	case <-b.wake:
		t.Error("a burst wakes the loop twice")
	default:
	}
	if m := b.take(); len(m.statuses) != 1 || m.statuses["n1"].it.Sequence != 999 {
		t.Errorf("the mail holds %v, want the newest status", m.statuses)
	}
}
