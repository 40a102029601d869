package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"headway.dev/headway/api"
)

// Config is what a controller needs. Zero values of what has a default are replaced by it.
type Config struct {
	// ID tells this controller from others that campaign for the lease.
	ID string
	// Repository is what is followed, as the report names it to people.
	Repository string

	Source   Source
	Compiler Compiler
	Bus      Bus
	// Reverter takes back commits by which rollouts fail, where Git asks for that; nil is a repository that cannot be written.
	Reverter Reverter
	// Sealer seals what secrets hold to the nodes.
	Sealer Sealer

	// ServiceCIDR is the range of the services' addresses; 10.96.0.0/16 by default.
	ServiceCIDR string
	// Heartbeat is how often a node gives a sign of life; 1 s by default.
	Heartbeat time.Duration
	// NodeLease is how long a node may be silent before it is lost and its pods are replaced; 10 s by default. At least two
	// heartbeats.
	NodeLease time.Duration
	// FailoverLease is how long a node may be silent before those of its pods are replaced that must not run twice, which it
	// stops by itself before; 40 s by default. All controllers of a fleet must have the same. At least NodeLease.
	FailoverLease time.Duration
	// LeaderLease is how long a leader may be silent before another takes over; the lesser of 5 s and NodeLease by default.
	// It may not be longer than NodeLease: a leader that is cut off from the bus hears no node, and must have stopped
	// before it would take them for lost.
	LeaderLease time.Duration
	// DrainTimeout bounds how long a pod's end waits for nodes to take it out of their routes; 5 s by default.
	DrainTimeout time.Duration
	// ScalePeriod is how often autoscalers reckon, and how often nodes with pods that they count say what these use; 15 s by
	// default.
	ScalePeriod time.Duration
	// Logger is discarded by default.
	Logger *slog.Logger
}

const defaultServiceCIDR = "10.96.0.0/16"

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	setDefault(&c.ServiceCIDR, defaultServiceCIDR)
	setDefault(&c.Heartbeat, time.Second)
	setDefault(&c.NodeLease, 10*time.Second)
	setDefault(&c.FailoverLease, max(40*time.Second, c.NodeLease))
	setDefault(&c.LeaderLease, min(5*time.Second, c.NodeLease))
	setDefault(&c.DrainTimeout, 5*time.Second)
	setDefault(&c.ScalePeriod, 15*time.Second)
	if c.Reverter == nil {
		c.Reverter = readOnly{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// readOnly is a repository that this controller cannot write to.
type readOnly struct{}

func (readOnly) Undo(context.Context, string, string) (api.Revision, error) {
	return api.Revision{}, fmt.Errorf("%w: the controller has no way to write to the repository", ErrNotUndone)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports all that is wrong, not the first.
func (c Config) validate() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("controller: "+format, args...))
		}
	}
	need(c.ID != "", "ID must name this controller among those that campaign")
	need(c.Source != nil, "Source must be the repository to follow")
	need(c.Compiler != nil, "Compiler must be set")
	need(c.Bus != nil, "Bus must be set")
	need(c.Sealer != nil, "Sealer must be set")
	_, err := netip.ParsePrefix(c.ServiceCIDR)
	need(err == nil, "ServiceCIDR: %w", err)
	need(c.Heartbeat > 0, "Heartbeat is %s; it must be more than nothing", c.Heartbeat)
	need(c.NodeLease >= 2*c.Heartbeat, "NodeLease is %s; it must be at least two heartbeats of %s, or a single late one loses a node", c.NodeLease, c.Heartbeat)
	need(c.FailoverLease >= c.NodeLease, "FailoverLease is %s; it must be at least NodeLease, %s", c.FailoverLease, c.NodeLease)
	need(c.LeaderLease > 0 && c.LeaderLease <= c.NodeLease, "LeaderLease is %s; it must be more than nothing and at most NodeLease, %s", c.LeaderLease, c.NodeLease)
	need(c.DrainTimeout > 0, "DrainTimeout is %s; it must be more than nothing", c.DrainTimeout)
	need(c.ScalePeriod >= time.Second, "ScalePeriod is %s; over less than a second the use of processors means nothing", c.ScalePeriod)
	return errors.Join(errs...)
}
