package fakehost

import (
	"cmp"
	"context"
	"slices"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

var (
	_ node.SupplyMeter = runtime{}
	_ node.Meter       = runtime{}
)

// The machine's size, unless a test says otherwise, and what a running container uses of it.
const (
	memory      = 1 << 30
	disk        = 10 << 30
	memoryOfOne = 1 << 20
)

// SetSupplies says what is left on the machine, beside what its containers have of the memory; nil is all of that, and half of a disk.
func (h *Host) SetSupplies(s *node.Supplies) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.supplies = s
}

// SetMemory says how many bytes of memory a container uses as long as it runs.
func (h *Host) SetMemory(uid, name string, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.memory[[2]string{uid, name}] = bytes
}

// memoryOf is what a container uses.
func (h *Host) memoryOf(c *container) int64 {
	if c.State != node.ContainerRunning {
		return 0
	}
	if bytes, said := h.memory[[2]string{c.PodUID, c.Name}]; said {
		return bytes
	}
	return memoryOfOne
}

func (r runtime) Supplies(string) (node.Supplies, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	s := node.Supplies{
		Memory: node.Supply{Available: memory, Capacity: memory},
		NodeFS: node.Supply{Available: disk / 2, Capacity: disk}, ImageFS: node.Supply{Available: disk / 2, Capacity: disk}, OneDisk: true,
	}
	if r.h.supplies != nil {
		s = *r.h.supplies
	}
	for _, c := range r.h.containers {
		s.Memory.Available -= r.h.memoryOf(c)
	}
	return s, nil
}

func (r runtime) Metrics(context.Context) ([]api.ContainerUsage, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	var all []api.ContainerUsage
	for _, c := range r.h.containers {
		if c.State == node.ContainerRunning {
			all = append(all, api.ContainerUsage{
				Pod: c.Pod, UID: c.PodUID, Container: c.Name, Started: c.Started,
				Usage: api.Usage{Time: time.Now(), Memory: uint64(r.h.memoryOf(c))},
			})
		}
	}
	slices.SortFunc(all, func(a, b api.ContainerUsage) int {
		return cmp.Or(cmp.Compare(a.UID, b.UID), cmp.Compare(a.Container, b.Container))
	})
	return all, nil
}

func (r runtime) MachineUsage() (api.Usage, error) {
	s, err := r.Supplies("")
	return api.Usage{Time: time.Now(), Memory: uint64(s.Memory.Capacity - s.Memory.Available)}, err
}
