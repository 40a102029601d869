package bus_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// A reign is one time that a candidate led.
type reign struct {
	id    string
	term  api.Term
	lease *bus.Lease
	ended <-chan struct{} // when its context has ended
}

// A candidate campaigns until it is stopped.
type candidate struct {
	stop func() // waits until it has given the lease back
}

func campaign(t *testing.T, c *bus.Conn, id string, ttl time.Duration, reigns *recorder[reign]) candidate {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- c.Lead(ctx, id, ttl, func(ctx context.Context, l *bus.Lease) error {
			reigns.add(reign{id, l.Term(), l, ctx.Done()})
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("%s: Lead ended with %v", id, err)
		}
	})
	t.Cleanup(stop)
	return candidate{stop}
}

// TestLead hands the lease over at once when it is given back, and to nobody while it is held.
func TestLead(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		const ttl = time.Minute
		reigns := newRecorder[reign]()
		a := campaign(t, connect(t, s.controller), "a", ttl, reigns)
		reigns.await(t, "the first leader", func(r reign) bool { return r.id == "a" && r.term == 1 })
		b := campaign(t, connect(t, s.controller), "b", ttl, reigns)
		began := time.Now()
		a.stop()
		reigns.await(t, "the second leader", func(r reign) bool { return r.id == "b" && r.term == 2 })
		if waited := time.Since(began); waited > 5*time.Second {
			t.Errorf("a lease that was given back was taken after %s", waited)
		}
		b.stop()
		if n := len(reigns.list()); n != 2 {
			t.Errorf("there were %d reigns, want 2", n)
		}
	})
}

// TestLeadCrashed waits for the lease of another that has vanished, but not for one's own.
func TestLeadCrashed(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		const ttl = 2 * time.Second
		reigns := newRecorder[reign]()
		crashing := connect(t, s.controller)
		campaign(t, crashing, "a", ttl, reigns)
		reigns.await(t, "the first leader", func(r reign) bool { return r.term == 1 })
		crashing.Close()
		began := time.Now()
		crashing = connect(t, s.controller)
		campaign(t, crashing, "a", ttl, reigns)
		reigns.await(t, "the same again", func(r reign) bool { return r.id == "a" && r.term == 2 })
		if waited := time.Since(began); waited > ttl/2 {
			t.Errorf("a leader that came back waited %s for itself", waited)
		}
		crashing.Close()
		began = time.Now()
		campaign(t, connect(t, s.controller), "b", ttl, reigns)
		reigns.await(t, "another", func(r reign) bool { return r.id == "b" && r.term == 3 })
		if waited := time.Since(began); waited < ttl {
			t.Errorf("a lease of %s was taken after %s", ttl, waited)
		}
	})
}

// A cut is a network that can be cut: what is sent is lost, and nobody is told.
type cut struct {
	mu    sync.Mutex
	conns []*cutConn
	down  bool
}

type cutConn struct {
	net.Conn
	cut *cut
}

func (c *cut) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.isDown() {
		return nil, errors.New("the network is cut")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wrapped := &cutConn{conn, c}
	c.conns = append(c.conns, wrapped)
	return wrapped, nil
}

func (c *cut) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
	if !down {
		for _, conn := range c.conns {
			conn.Close()
		}
		c.conns = nil
	}
}

func (c *cut) isDown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.cut.isDown() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.cut.isDown() {
			return n, err
		}
	}
}

// TestLeadPartition stops a leader that is cut off before another can begin.
func TestLeadPartition(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		const ttl = 2 * time.Second
		var network cut
		o := s.controller
		o.Dial = network.dial
		reigns := newRecorder[reign]()
		campaign(t, connect(t, o), "a", ttl, reigns)
		first := reigns.await(t, "the first leader", func(r reign) bool { return r.id == "a" })
		campaign(t, connect(t, s.controller), "b", ttl, reigns)
		network.set(true)
		second := reigns.await(t, "the second leader", func(r reign) bool { return r.id == "b" })
		select {
		case <-first.ended:
		default:
			t.Error("another began to lead before the first had stopped")
		}
		if second.term <= first.term {
			t.Errorf("the second leader's term is %d, the first's %d", second.term, first.term)
		}
		network.set(false)
		select {
		case <-second.ended:
			t.Error("the second leader stopped when the first came back")
		case <-time.After(ttl):
		}
	})
}

// TestRaise passes the terms that nodes have seen, and keeps the lease when the store is lost under it.
func TestRaise(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		const ttl = 30 * time.Second
		reigns := newRecorder[reign]()
		c := connect(t, s.controller)
		campaign(t, c, "a", ttl, reigns)
		r := reigns.await(t, "the leader", func(reign) bool { return true })
		must(t, r.lease.Raise(t.Context(), 41))
		if r.lease.Term() != 42 {
			t.Errorf("the term is %d, want 42", r.lease.Term())
		}
		must(t, r.lease.Raise(t.Context(), 7))
		if r.lease.Term() != 42 {
			t.Errorf("the term went to %d", r.lease.Term())
		}
		other := campaign(t, connect(t, s.controller), "b", ttl, reigns)
		other.stop()
		if n := len(reigns.list()); n != 1 {
			t.Errorf("there were %d reigns, want 1", n)
		}
	})
}

// TestLeadStoreLost has the leader begin anew, in a later term and at once, when the store is lost under it.
func TestLeadStoreLost(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		const ttl = time.Minute
		reigns := newRecorder[reign]()
		campaign(t, connect(t, s.controller), "a", ttl, reigns)
		r := reigns.await(t, "the leader", func(reign) bool { return true })
		must(t, r.lease.Raise(t.Context(), 4))
		s.restart(true)
		r = reigns.await(t, "the leader over the new store", func(r reign) bool { return r.term > 5 })
		must(t, r.lease.Raise(t.Context(), 9))
		if r.lease.Term() != 10 {
			t.Errorf("the term is %d, want 10", r.lease.Term())
		}
		must(t, keeper(t, s).DeleteStreams(t.Context()))
		reigns.await(t, "the leader over the next store", func(r reign) bool { return r.term > 10 })
	})
}

// TestLeadOverRestart goes on leading when the server restarts with its store.
func TestLeadOverRestart(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		const ttl = 3 * time.Second
		reigns := newRecorder[reign]()
		campaign(t, connect(t, s.controller), "a", ttl, reigns)
		r := reigns.await(t, "the leader", func(reign) bool { return true })
		s.restart(false)
		select {
		case <-r.ended:
			t.Error("the leader stopped although it could go on")
		case <-time.After(ttl + ttl/2):
		}
	})
}

// TestLeadReturns gives back what lead returns, and the lease.
func TestLeadReturns(t *testing.T) {
	s := externalSite(t)
	failure := errors.New("done")
	err := connect(t, s.controller).Lead(t.Context(), "a", time.Minute, func(context.Context, *bus.Lease) error { return failure })
	if !errors.Is(err, failure) {
		t.Errorf("Lead returned %v", err)
	}
	reigns := newRecorder[reign]()
	campaign(t, connect(t, s.controller), "b", time.Minute, reigns)
	reigns.await(t, "the next leader", func(r reign) bool { return r.term == 2 })
}
