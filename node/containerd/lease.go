package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
)

// labelLease marks the leases of daemons. Its value is the daemon's own.
const labelLease = "headway.dev/daemon"

// leaseTime is how long containerd keeps what a lease holds if no daemon comes back to drop it.
const leaseTime = 24 * time.Hour

// leased does something under a lease, which keeps from containerd's garbage collection what is not an image yet.
func (r *Runtime) leased(ctx context.Context, do func(context.Context) error) error {
	held, release, err := r.client.WithLease(ctx, leases.WithRandomID(), leases.WithExpiration(leaseTime), leases.WithLabel(labelLease, r.daemon))
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	defer func() {
		ctx, cancel := clearing(ctx)
		defer cancel()
		// What a killed daemon had asked for may have come about after this one began.
		if err := errors.Join(release(ctx), r.dropLeases(ctx)); err != nil {
			r.options.Logger.WarnContext(ctx, "what was pulled is held for longer than it need be", "for", leaseTime, "error", err)
		}
	}()
	return do(held)
}

// dropLeases drops those that daemons have left that were killed while they pulled: for as long as they last, nothing of
// those images could be removed.
func (r *Runtime) dropLeases(ctx context.Context) error {
	service := r.client.LeasesService()
	all, err := service.List(ctx, fmt.Sprintf("labels.%q,labels.%q!=%q", labelLease, labelLease, r.daemon))
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for _, l := range all {
		if err := ignoreNotFound(service.Delete(ctx, l)); err != nil {
			return fmt.Errorf("drop the lease %s of an earlier daemon: %w", l.ID, err)
		}
	}
	return nil
}
