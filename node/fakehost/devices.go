package fakehost

import (
	"context"
	"maps"
	"slices"

	"headway.dev/headway/node"
)

// SetDevices has the machine have these devices of a resource, and no others of it.
func (h *Host) SetDevices(resource string, names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.devices = maps.Clone(h.devices)
	if h.devices == nil {
		h.devices = map[string][]string{}
	}
	delete(h.devices, resource)
	for _, name := range names {
		h.devices[resource] = append(h.devices[resource], resource+"="+name)
	}
	for w := range h.replugged {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Devices is the machine's node.Devices.
func (h *Host) Devices() node.Devices { return devices{h} }

type devices struct{ h *Host }

func (d devices) Devices() map[string][]string {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	all := maps.Clone(d.h.devices)
	for resource := range all {
		all[resource] = slices.Clone(all[resource])
	}
	return all
}

func (d devices) Watch(ctx context.Context, fn func()) error {
	news := make(chan struct{}, 1)
	d.h.mu.Lock()
	d.h.replugged[news] = true
	d.h.mu.Unlock()
	defer func() {
		d.h.mu.Lock()
		defer d.h.mu.Unlock()
		delete(d.h.replugged, news)
	}()
	for fn(); ; {
		select {
		case <-news:
			fn()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// noteClash remembers that a container starts with a device that another one still has. The host is locked.
func (h *Host) noteClash(c *container) {
	for _, other := range h.containers {
		for _, name := range c.Devices {
			if other != c && other.State == node.ContainerRunning && slices.Contains(other.Devices, name) {
				h.clashes = append(h.clashes, name+" of "+other.ID+" and "+c.ID)
			}
		}
	}
}
