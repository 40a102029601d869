package controller

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// A Controller runs the control plane's loop whenever it holds the leader's lease.
type Controller struct {
	config Config
	log    *slog.Logger
}

// New checks the configuration.
func New(config Config) (*Controller, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Controller{config: config, log: config.Logger}, nil
}

// The bounds of the wait after a failure: it doubles from the first to the last.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Run campaigns, leads while it holds the lease, and campaigns again when it has lost it, until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	var wait backoff
	for {
		began := time.Now()
		err := c.config.Bus.Lead(ctx, c.config.ID, c.config.LeaderLease, c.lead)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > lastRetry {
			wait = backoff{}
		}
		c.log.Warn("not leading any more; campaigning again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait.next()):
		}
	}
}

// A backoff counts failures in a row.
type backoff struct{ wait time.Duration }

func (b *backoff) next() time.Duration {
	b.wait = min(max(2*b.wait, firstRetry), lastRetry)
	return b.wait
}

// A leader is a controller while it holds the lease.
type leader struct {
	config Config
	log    *slog.Logger
	lease  Lease
	state  *state
	inbox  *inbox
	desk   *desk
	audit  *auditor
	broom  *janitor
	orders chan revertOrder
	joined int // how many nodes the bus last listed; only its watch touches it
}

// lead runs the loop until the lease is lost or something fails that only a new beginning can mend.
func (c *Controller) lead(ctx context.Context, lease Lease) error {
	found, err := c.config.Bus.State(ctx)
	if err != nil {
		return err
	}
	stock, err := c.config.Bus.Blobs(ctx)
	if err != nil {
		return err
	}
	var inForce []api.Object
	if found.Report != nil && found.Report.Objects != "" {
		if inForce, err = c.config.Bus.Objects(ctx, found.Report.Objects); err != nil {
			c.log.Warn("what was in force is not known: what Git has dropped is found only by its pods", "error", err)
		}
	}
	c.log.Info("leading", "term", lease.Term(), "nodes", len(found.Nodes), "assignments", len(found.Assignments), "statuses", len(found.Statuses))
	audit := newAuditor(c.config.Bus)
	l := &leader{
		config: c.config, log: c.log, lease: lease, inbox: newInbox(),
		desk: newDesk(c.config.Bus, c.log, found.Report, audit.wrote), audit: audit, broom: newJanitor(c.config.Bus, c.log),
		orders: make(chan revertOrder, maxOrders),
	}
	l.state = newState(limits{
		repository: c.config.Repository, serviceCIDR: c.config.ServiceCIDR,
		nodeLease: c.config.NodeLease, times: tenure.Of(c.config.FailoverLease), drainTimeout: c.config.DrainTimeout, settle: 2 * c.config.Heartbeat, revertGrace: revertGrace,
		scalePeriod: c.config.ScalePeriod,
	}, c.config.Sealer, lease.Term(), found, time.Now())
	l.state.inForce = inForce
	for _, d := range stock {
		l.state.stock[d] = true
	}
	l.state.readTemplates(ctx, c.config.Bus, c.log)

	group, ctx := errgroup.WithContext(ctx)
	run := func(what string, fn func() error) {
		group.Go(func() error { return ended(ctx, what, fn()) })
	}
	bus := c.config.Bus
	run("watching nodes", func() error { return bus.WatchNodes(ctx, l.nodes) })
	run("watching statuses", func() error { return bus.WatchStatuses(ctx, l.inbox.status) })
	run("watching acknowledgements", func() error { return bus.WatchAcks(ctx, l.inbox.ack) })
	run("watching heartbeats", func() error { return bus.WatchBeats(ctx, l.inbox.beat) })
	if w, ok := bus.(UsageWatcher); ok {
		run("watching usage", func() error { return w.WatchUsage(ctx, l.inbox.usage) })
	}
	if pruner, ok := bus.(BlobPruner); ok {
		run("pruning blobs", func() error { return l.broom.run(ctx, pruner) })
	}
	run("following the repository", func() error { return newFollower(c.config, l.inbox).run(ctx) })
	run("auditing the store", func() error { return l.audit.run(ctx) })
	run("reverting", func() error { return l.revertAll(ctx) })
	run("reporting", func() error { return l.desk.run(ctx) })
	run("reconciling", func() error { return l.loop(ctx) })
	return group.Wait()
}

// maxOrders is how many reverts may wait for the one that is being made.
const maxOrders = 16

// revertGrace is how long what a leader has learnt of rollouts settles before it reverts anything: nodes report within seconds.
const revertGrace = 15 * time.Second

// ended makes an error of a part that stopped by itself, for then the leader knows too little to go on.
func ended(ctx context.Context, what string, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: it ended by itself", what)
}

// loop reconciles whenever there is news or time has brought something about.
func (l *leader) loop(ctx context.Context) error {
	var wait backoff
	again := time.Now() // when to reconcile though there is no news: at first, and after a failed write
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		fired := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case reply := <-l.broom.used:
			reply <- l.state.usedBlobs()
			continue
		case <-l.inbox.wake:
		case <-timer.C:
			fired = true
		}
		now := time.Now()
		mail := l.inbox.take()
		changed := l.state.observe(mail, now)
		if !changed && !fired {
			l.answer(ctx, mail.beats)
			continue // beats: they only put off what the timer stands for
		}
		if changed || passed(again, now) || passed(l.state.due(), now) {
			again = time.Time{}
			err := l.pass(ctx, now)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case isOverwritten(err):
				return err
			}
			if err != nil {
				again = time.Now().Add(wait.next())
				l.log.Warn("not all could be written; it is tried again", "error", err)
			} else {
				wait = backoff{}
			}
		}
		l.answer(ctx, mail.beats)
		if due := earlier(l.state.due(), again); !due.IsZero() {
			timer.Reset(max(0, time.Until(due)))
		}
	}
}

// answer answers heartbeats, by what is decided now, unless another may lead already.
func (l *leader) answer(ctx context.Context, beats map[string]seen[api.Heartbeat]) {
	if len(beats) == 0 || !l.lease.Held() {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(beats)) {
		g, ok := l.state.grant(beats[name].it, time.Now())
		if !ok {
			continue
		}
		if err := l.config.Bus.Answer(ctx, g); err != nil {
			l.log.Debug("a heartbeat is not answered", "node", name, "error", err)
		}
	}
}

// nodes takes in who has joined. A node that is not among them any more may be a store that lost more than that.
func (l *leader) nodes(infos []api.NodeInfo) {
	if len(infos) < l.joined {
		l.audit.suspect()
	}
	l.joined = len(infos)
	l.inbox.nodes(infos)
}

// passed reports whether a time has come; zero never does.
func passed(due, now time.Time) bool { return !due.IsZero() && !now.Before(due) }

// pass reconciles once and carries out what comes of it.
func (l *leader) pass(ctx context.Context, now time.Time) error {
	if above := l.state.outranked(); above > 0 {
		if err := l.lease.Raise(ctx, above); err != nil {
			return err
		}
		l.state.raised(l.lease.Term())
		l.log.Info("the term is raised above one that was obeyed before", "term", l.state.term, "above", above)
	}
	e := l.state.reconcile(now)
	err := l.write(ctx, e)
	l.readReplaced(ctx)
	for _, order := range e.reverts {
		select {
		case l.orders <- order:
		default:
			l.state.postpone(order, now)
		}
	}
	if len(e.assignments) > 0 {
		l.audit.expect(l.state.marks())
	}
	l.desk.put(l.state.report(now, err), l.state.inForce, l.state.version, e.events)
	return err
}

// outranked gives the highest term that somebody else has ruled by, if it is not below the leader's own; 0 otherwise. Of a
// store that was lost, term and sequence begin anew, and nodes would refuse what they have seen already.
func (s *state) outranked() api.Term {
	above := s.routes.term
	for _, n := range s.nodes {
		above = max(above, n.term)
		if n.known && !n.ours {
			above = max(above, n.written.Term)
		}
	}
	if above > s.term || above == s.term && s.impersonated() {
		return above
	}
	return 0
}

// impersonated reports whether an assignment of the leader's own term is not its own.
func (s *state) impersonated() bool {
	for _, n := range s.nodes {
		switch {
		case n.known && !n.ours && n.written.Term == s.term:
			return true
		case n.status.Term == s.term && n.status.Sequence > n.sequence:
			return true
		}
	}
	return false
}
