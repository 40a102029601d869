// Package fakehost is a machine that exists only in memory, for tests of the node's agent: containers that run small
// scripts, sandboxes, volumes, images and routes, all of which outlive the agent as they do on a real machine.
//
// It prints itself, counts what runs at the same time, and lets a test fail or cut off any call.
package fakehost

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// A Call is one call to the machine, as a fault sees it.
type Call struct {
	Op    string // such as Create or Attach
	What  string // the container's ID, the pod's UID or the image
	After bool   // the effect has taken place; what remains is to tell the caller
}

func (c Call) String() string {
	if c.After {
		return "after " + c.Op + " " + c.What
	}
	return "before " + c.Op + " " + c.What
}

// ErrKilled is what a fault returns that ends the agent as kill -9 does: what it was about stays half done.
var ErrKilled = errors.New("killed")

// ErrLate is what a fault returns that ends the agent so, too; but what it had asked for comes about all the same, a moment
// after another agent may have looked.
var ErrLate = errors.New("killed, and carried out late")

// lateBy is how much later.
const lateBy = 50 * time.Millisecond

// A Fault decides about each call, once before and once after its effect: an error is what the caller gets.
type Fault func(Call) error

// Options make a machine slow where a test needs it.
type Options struct {
	// Latency is how long calls take, by operation.
	Latency map[string]time.Duration
}

// A Host is the machine. Its views implement the interfaces of package node.
type Host struct {
	options Options

	mu         sync.Mutex
	fault      Fault
	calls      []Call
	busy, most map[string]int
	containers map[string]*container
	half       map[string]bool // containers whose making was cut off
	ended      map[*watch]bool
	nextPID    int
	sandboxes  map[string]node.Sandbox
	freed      []netip.Addr
	nextIP     netip.Addr
	volumes    map[string][]string // names of volumes by pod
	files      map[string]string   // what pods have that changes in place
	missing    map[string]string   // reasons of images that cannot be had
	pulls      map[string]int
	stored     map[string]storedImage    // by name
	dropped    map[string]bool           // images that are not there
	stops      map[string]syscall.Signal // by image
	table      api.RouteTable
	isolated   []node.IsolatedPod
	peers      []string
	probe      ProbeFunc
	usage      map[[2]string]int64 // bytes written, by pod and volume or container
	memory     map[[2]string]int64 // bytes in memory, by pod and container
	supplies   *node.Supplies
	boots      int
	devices    map[string][]string // by resource
	replugged  map[chan struct{}]bool
	clashes    []string // containers that ran with one device at the same time
}

// firstIP is the first address of a pod.
var firstIP = netip.AddrFrom4([4]byte{10, 244, 0, 2})

// New makes an empty machine. Every image is on it, every probe succeeds.
func New(options Options) *Host {
	return &Host{
		options: options, nextPID: 1000, nextIP: firstIP,
		busy: map[string]int{}, most: map[string]int{},
		containers: map[string]*container{}, half: map[string]bool{}, ended: map[*watch]bool{},
		sandboxes: map[string]node.Sandbox{}, volumes: map[string][]string{}, files: map[string]string{},
		missing: map[string]string{}, pulls: map[string]int{}, stored: map[string]storedImage{}, dropped: map[string]bool{}, stops: map[string]syscall.Signal{}, usage: map[[2]string]int64{}, memory: map[[2]string]int64{},
		replugged: map[chan struct{}]bool{},
	}
}

// SetFault has every call from now on pass by f; nil lets all pass.
func (h *Host) SetFault(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// Calls are those whose effect took place, in order.
func (h *Host) Calls() []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// Most is the largest number of calls of an operation that ran at the same time.
func (h *Host) Most(op string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.most[op]
}

// call carries out one call: fault, latency, effect, fault. The effect holds the host's lock.
func (h *Host) call(ctx context.Context, op, what string, effect func() error) error {
	if err := h.begin(ctx, op, what); errors.Is(err, ErrLate) {
		time.AfterFunc(lateBy, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if effect() == nil {
				h.calls = append(h.calls, Call{Op: op, What: what, After: true})
			}
		})
		return ErrKilled
	} else if err != nil {
		return err
	}
	defer h.end(op)
	if err := sleep(ctx, h.options.Latency[op]); err != nil {
		return err
	}
	h.mu.Lock()
	err := effect()
	fault := h.fault
	done := Call{Op: op, What: what, After: true}
	if err == nil {
		h.calls = append(h.calls, done)
	}
	h.mu.Unlock()
	if err == nil && fault != nil {
		err = fault(done)
	}
	return err
}

func (h *Host) begin(ctx context.Context, op, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h.mu.Lock()
	fault := h.fault
	h.mu.Unlock()
	if fault != nil {
		if err := fault(Call{Op: op, What: what}); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy[op]++
	h.most[op] = max(h.most[op], h.busy[op])
	return nil
}

func (h *Host) end(op string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy[op]--
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// String prints the machine: one line a container, sandbox, pod with volumes, route, clash over a device, and peer, in order.
func (h *Host) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(h.containers)) {
		c := h.containers[id]
		fmt.Fprintf(&b, "container %s %s", id, c.State)
		if c.State == node.ContainerExited {
			fmt.Fprintf(&b, " %d", c.ExitCode)
		}
		b.WriteByte('\n')
	}
	for _, id := range slices.Sorted(maps.Keys(h.half)) {
		fmt.Fprintf(&b, "half-made %s\n", id)
	}
	for _, uid := range slices.Sorted(maps.Keys(h.sandboxes)) {
		fmt.Fprintf(&b, "sandbox %s\n", uid)
	}
	for _, uid := range slices.Sorted(maps.Keys(h.volumes)) {
		fmt.Fprintf(&b, "volumes %s %s\n", uid, strings.Join(h.volumes[uid], ","))
		if files, ok := h.files[uid]; ok {
			fmt.Fprintf(&b, "files %s %s\n", uid, files)
		}
	}
	for _, r := range h.table.Routes {
		fmt.Fprintf(&b, "route %s %s", r.Service, r.ClusterIP)
		for _, e := range r.Endpoints {
			fmt.Fprintf(&b, " %s", e.IP)
		}
		b.WriteByte('\n')
	}
	for _, clash := range h.clashes {
		fmt.Fprintf(&b, "clash %s\n", clash)
	}
	for _, p := range h.isolated {
		fmt.Fprintf(&b, "isolated %s in %s out %s\n", p.IP, allowedText(p.Ingress), allowedText(p.Egress))
	}
	for _, p := range h.peers {
		fmt.Fprintf(&b, "peer %s\n", p)
	}
	return b.String()
}

// allowedText says what passes in one direction: the networks, without their ports.
func allowedText(a *api.Allowed) string {
	switch {
	case a == nil:
		return "everything"
	case len(a.Flows) == 0:
		return "nothing"
	}
	var networks []string
	for _, f := range a.Flows {
		networks = append(networks, f.Networks...)
	}
	return strings.Join(networks, ",")
}
