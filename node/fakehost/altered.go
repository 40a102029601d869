package fakehost

import (
	"context"
	"fmt"

	"headway.dev/headway/node"
)

var _ node.ContainerKeeper = runtime{}

// Freeze stops a running container's process where it is, behind the agent's back. What it was about to do it does all the same.
func (h *Host) Freeze(_ context.Context, id string) error {
	return h.alter(id, "is frozen")
}

// Limit bounds a running container's memory, behind the agent's back.
func (h *Host) Limit(_ context.Context, id string, memory int64) error {
	return h.alter(id, fmt.Sprintf("has a limit of %d bytes of memory", memory))
}

func (h *Host) alter(id, what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.containers[id]
	if c == nil || c.State != node.ContainerRunning {
		return fmt.Errorf("%s does not run", id)
	}
	c.altered = what
	return nil
}

// Altered is asked time and again, and so is none of the calls that are told.
func (r runtime) Altered(_ context.Context, id string) (string, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if c := r.h.containers[id]; c != nil && c.State == node.ContainerRunning {
		return c.altered, nil
	}
	return "", nil
}

func (r runtime) Restore(ctx context.Context, id string) error {
	return r.h.call(ctx, "Restore", id, func() error {
		if c := r.h.containers[id]; c != nil {
			c.altered = ""
		}
		return nil
	})
}
