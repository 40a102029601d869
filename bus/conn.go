package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/bus/internal/wire"
)

const (
	dialTimeout = 2 * time.Second
	// pingInterval and maxPings bound how long a connection that has been cut goes unnoticed, to ten seconds.
	pingInterval   = 5 * time.Second
	maxPings       = 2
	reconnectFirst = 50 * time.Millisecond
	reconnectMost  = 2 * time.Second
)

var (
	// ErrUnavailable is the error of what needs a connection while there is none. Reconnection goes on by itself.
	ErrUnavailable = errors.New("the bus cannot be reached")
	// ErrNotFound is the error of reading what the bus does not hold.
	ErrNotFound = errors.New("not on the bus")
	// ErrDenied is the error of a write that the credentials do not allow.
	ErrDenied = errors.New("the bus's credentials do not allow it")
)

// Options say how to reach the bus.
type Options struct {
	// Credentials hold the URL (empty is nats://127.0.0.1:4222), user and password.
	Credentials Credentials
	// Name tells this connection from others in the server's listings.
	Name string
	// Wait has Connect return at once and connect in the background, so that a node can start while the bus is away.
	Wait bool
	// Replicas of each bucket that this connection makes, on an external cluster; 0 is 1.
	Replicas int
	// Dial makes the connection, such as from inside a network namespace; nil is the network's own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// InProcess connects to a server in this process, without TCP.
	InProcess nats.InProcessConnProvider
	Logger    *slog.Logger // nil is silent
}

// A Conn is a connection to the bus. It reconnects for ever; what is written meanwhile fails with ErrUnavailable, and
// watches go on after it.
type Conn struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	log      *slog.Logger
	replicas int
	recheck  time.Duration // how often a watch asks whether it missed anything
	blobAge  time.Duration // how long a blob stays that nobody wants

	ctx     context.Context // done when the connection is closed
	cancel  context.CancelFunc
	workers sync.WaitGroup

	link      link
	notices   notices
	deletions deletions
	upkeep    chan struct{} // asks maintain for another round
	denials   denials
	levels    levels
	keeping   keeping
	routes    routeWriter
	statuses  statusWriter

	assignments, reports ledger
}

// Connect reaches the bus. Without Wait, it is an error if that fails at the first attempt or ctx ends before; with
// Wait, only options that can never work are. ctx bounds nothing after Connect has returned.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	c := newConn(o)
	options, err := c.natsOptions(ctx, o)
	if err != nil {
		return nil, err
	}
	url := o.Credentials.URL
	if url == "" {
		url = nats.DefaultURL
	}
	if c.nc, err = nats.Connect(url, options...); err != nil {
		c.cancel()
		return nil, fmt.Errorf("connect to the bus at %s: %w", url, err)
	}
	if c.js, err = jetstream.New(c.nc); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to the bus at %s: %w", url, err)
	}
	if _, err = c.nc.Subscribe(wire.StreamActions, c.streamChanged); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to the bus at %s: %w", url, err)
	}
	c.workers.Go(c.maintain)
	return c, nil
}

func newConn(o Options) *Conn {
	c := &Conn{log: o.Logger, replicas: max(o.Replicas, 1), recheck: time.Minute, blobAge: blobAge, upkeep: make(chan struct{}, 1)}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *Conn) natsOptions(ctx context.Context, o Options) ([]nats.Option, error) {
	timeout := dialTimeout
	if deadline, ok := ctx.Deadline(); ok && !o.Wait {
		timeout = min(timeout, time.Until(deadline))
	}
	if err := ctx.Err(); err != nil || timeout <= 0 {
		return nil, errors.Join(context.DeadlineExceeded, err)
	}
	options := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(timeout),
		nats.RetryOnFailedConnect(o.Wait),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		// Another password may be on its way: a refusal is no reason to give up.
		nats.IgnoreAuthErrorAbort(),
		// Fail what is written while there is no connection, rather than let it arrive when it is stale.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.ConnectHandler(c.connected),
		nats.ReconnectHandler(c.connected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.link.interrupt(ErrUnavailable)
			if c.ctx.Err() == nil {
				c.log.Warn("the connection to the bus is lost: trying again until it is back", "error", err)
			}
		}),
		nats.ErrorHandler(c.asyncError),
	}
	if o.Credentials.User != "" {
		options = append(options,
			nats.UserInfoHandler(o.Credentials.current),
			nats.CustomInboxPrefix(wire.Inbox(o.Credentials.User)))
	}
	switch {
	case o.InProcess != nil:
		options = append(options, nats.InProcessServer(o.InProcess))
	case o.Dial != nil:
		options = append(options, nats.SetCustomDialer(dialer{c.ctx, o.Dial}), nats.SkipHostLookup())
	}
	return options, nil
}

// Close ends the connection, and with it all that waits on it.
func (c *Conn) Close() {
	c.cancel()
	if c.nc != nil {
		c.nc.Close()
	}
	c.workers.Wait()
}

// Connected reports whether the bus can be reached now.
func (c *Conn) Connected() bool { return c.nc.IsConnected() }

func (c *Conn) connected(nc *nats.Conn) {
	c.log.Info("connected to the bus", "server", nc.ConnectedUrlRedacted())
	c.notices.wake("")
	c.requestUpkeep()
}

// streamChanged hears that the server has made or deleted a stream.
func (c *Conn) streamChanged(m *nats.Msg) {
	path := strings.Split(m.Subject, ".")
	action, stream := path[len(path)-2], path[len(path)-1]
	if !known(stream) {
		return
	}
	if action == "DELETED" {
		// What is asked of it now is never answered.
		c.deletions.note(stream)
		c.link.interrupt(fmt.Errorf("%s was deleted: %w", stream, errNoStore))
	}
	c.notices.wake(stream)
	c.requestUpkeep()
}

func (c *Conn) requestUpkeep() {
	select {
	case c.upkeep <- struct{}{}:
	default:
	}
}

// maintain brings the store back to what it should hold, after every connection and every change of its streams:
// missing buckets, for a connection that keeps them, and what this connection last said of its own node.
func (c *Conn) maintain() {
	retry := newBackoff()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.upkeep:
		case <-retry.after():
		}
		if err := c.restore(); err != nil && c.ctx.Err() == nil {
			c.log.Debug("the bus is not restored yet", "error", err)
			retry.grow()
			continue
		}
		retry.reset()
	}
}

// restore fails while anything is still missing.
func (c *Conn) restore() error {
	ctx, cancel := context.WithTimeout(c.ctx, 2*answerTimeout)
	defer cancel()
	if err := c.keeping.ensure(ctx, c, false); err != nil {
		return err
	}
	return c.levels.putAgain(ctx, c)
}

func (c *Conn) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		if !c.denials.deny(err) {
			c.log.Error("the bus refuses", "error", err)
		}
	case errors.Is(err, nats.ErrSlowConsumer):
		c.log.Warn("messages of the bus came faster than they were taken: reading anew", "subject", sub.Subject)
		c.notices.wake("")
	default:
		c.log.Warn("trouble on the bus", "error", err)
	}
}

// reconnectDelay doubles from reconnectFirst to reconnectMost, with jitter so that a fleet does not come back at once.
func reconnectDelay(attempts int) time.Duration {
	d := min(reconnectFirst<<min(max(attempts, 1)-1, 16), reconnectMost)
	return d/2 + rand.N(d/2+1)
}

// dialer is a dial function as NATS takes it.
type dialer struct {
	ctx  context.Context
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, dialTimeout)
	defer cancel()
	return d.dial(ctx, network, address)
}
