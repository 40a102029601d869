package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing/synctest"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/controller"
)

// The times of every simulated fleet.
const (
	heartbeat    = 500 * time.Millisecond
	nodeLease    = 10 * time.Second
	failover     = 20 * time.Second
	leaderLease  = 5 * time.Second
	drainTimeout = 5 * time.Second
)

// A world is one run: the processes of the control plane, the store, the repository and the machines.
type world struct {
	*driver
	weather   weather
	storms    int // how many there are now
	store     *store
	repo      *repo
	processes []*process
	machines  []*machine
	running   sync.WaitGroup
	log       io.Writer // of the controllers; nil is nobody

	templates map[api.Digest]*api.PodTemplate // every one ever stored
	checks
}

// A weather is how bad the network is.
type weather struct {
	lost    int // messages in a hundred that are lost, or whose answer is
	doubled int // and that come twice
	rough   bool
}

// latency is how long a message takes.
func (w weather) latency(d dice) time.Duration {
	switch n := d.in(100); {
	case !w.rough || n < 60:
		return d.between(time.Millisecond, 3*time.Millisecond)
	case n < 90:
		return d.between(3*time.Millisecond, 200*time.Millisecond)
	default:
		return d.between(200*time.Millisecond, 4*time.Second)
	}
}

func newWorld(seed uint64) *world {
	w := &world{driver: newDriver(seed), templates: map[api.Digest]*api.PodTemplate{}, checks: newChecks()}
	w.store = newStore(time.Now())
	w.repo = &repo{world: w}
	return w
}

// machine gives the machine of that name, or nil.
func (w *world) machine(name string) *machine {
	for _, m := range w.machines {
		if m.name == name {
			return m
		}
	}
	return nil
}

// A process is a controller that is started and killed.
type process struct {
	world  *world
	id     string
	conn   *conn
	cancel context.CancelFunc
	starts int
	// crashAt is the call at which it dies, counted from its start; 0 is none. downFor is for how long.
	crashAt int
	downFor time.Duration
}

// start starts the controller, if it does not run.
func (p *process) start() {
	if p.conn != nil && !p.conn.dead {
		return
	}
	w := p.world
	p.starts++
	p.conn = newConn(w, fmt.Sprintf("%s.%d", p.id, p.starts))
	config := controller.Config{
		ID: p.id, Repository: "simulated", Source: source{p.conn}, Compiler: compiler{p.conn}, Bus: p.conn, Sealer: seal, Reverter: reverter{p.conn},
		Heartbeat: heartbeat, NodeLease: nodeLease, FailoverLease: failover, LeaderLease: leaderLease, DrainTimeout: drainTimeout,
	}
	if w.log != nil {
		config.Logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("process", p.conn.name)
	}
	c, err := controller.New(config)
	if err != nil {
		w.violate("set-up", "%v", err)
		return
	}
	w.note("%s starts", p.conn.name)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	w.running.Go(func() { _ = c.Run(ctx) }) // it ends with ctx
	w.stir = true
}

// kill ends the process at once: what it has sent may still arrive, and nothing reaches it any more.
func (p *process) kill() {
	if p.conn == nil || p.conn.dead {
		return
	}
	p.world.note("%s is killed", p.conn.name)
	p.conn.dead = true
	p.crashAt = 0
	p.cancel()
	p.world.stir = true
}

// crashes kills the process of a connection if this is the call at which it is to die. It reports whether the call is
// not even sent.
func (w *world) crashes(c *conn, d dice) (unsent bool) {
	if c.dead {
		return true
	}
	for _, p := range w.processes {
		if p.conn == c && p.crashAt > 0 && c.asked >= p.crashAt {
			wait := p.downFor
			p.kill()
			w.after(wait, p.start)
			return d.percent(50)
		}
	}
	return false
}

// seal seals by saying to whom.
func seal(plain []byte, recipient string) ([]byte, error) {
	return append([]byte("sealed to "+recipient+": "), plain...), nil
}

// end stops the control plane and waits until it is gone.
func (w *world) end() {
	for _, p := range w.processes {
		p.kill()
	}
	// Calls that wait for an answer end with their context.
	synctest.Wait()
	w.running.Wait()
}

// wait lets time go by.
func (w *world) wait(d time.Duration) { w.run(time.Now().Add(d), w.failed) }
