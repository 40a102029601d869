package crash_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
	"headway.dev/headway/node/iptables"
	"headway.dev/headway/node/network"
	"headway.dev/headway/node/probe"
	"headway.dev/headway/node/volume"
)

// A failpoint is a place in a daemon's work.
type failpoint struct {
	// Call is one that the daemon makes to the machine: Network.Attach, or Tasks/Create for one of containerd.
	Call string
	// When is before, after, or during: Delay after its begin.
	When  string
	Delay time.Duration
	// Nth counts the calls of this name, from 1, since the failpoint was set.
	Nth int
}

func (f failpoint) String() string {
	if f.Call == "" {
		return "after " + f.Delay.String()
	}
	s := fmt.Sprintf("%s %s #%d", f.When, f.Call, f.Nth)
	if f.When == "during" {
		s += " at " + f.Delay.String()
	}
	return s
}

// A gate kills its own process at a failpoint among the calls that pass it.
type gate struct {
	said func(report)

	mu    sync.Mutex
	point failpoint
	seen  int
}

func (g *gate) arm(f failpoint) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.point, g.seen = f, 0
}

// pass makes a call, unless the process dies before it is done.
func (g *gate) pass(call string, do func()) {
	g.said(report{Reached: call})
	g.mu.Lock()
	point := g.point
	due := point.Call == call
	if due {
		g.seen++
		due = g.seen == point.Nth
	}
	g.mu.Unlock()
	switch {
	case due && point.When == "before":
		die()
	case due && point.When == "during":
		timer := time.AfterFunc(point.Delay, die)
		// A call that is done sooner is cut off just after it.
		defer func() {
			if timer.Stop() {
				die()
			}
		}()
	case due:
		defer die()
	}
	do()
}

// die ends the process as kill -9 does.
func die() {
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}

type gatedNetwork struct {
	*network.Network
	gate *gate
}

func (n gatedNetwork) Attach(ctx context.Context, uid, hostname string) (s node.Sandbox, err error) {
	n.gate.pass("Network.Attach", func() { s, err = n.Network.Attach(ctx, uid, hostname) })
	return s, err
}

func (n gatedNetwork) Detach(ctx context.Context, uid string) (err error) {
	n.gate.pass("Network.Detach", func() { err = n.Network.Detach(ctx, uid) })
	return err
}

type gatedVolumes struct {
	*volume.Volumes
	gate *gate
}

func (v gatedVolumes) Prepare(ctx context.Context, config node.VolumeConfig) (paths map[string]string, err error) {
	v.gate.pass("Volumes.Prepare", func() { paths, err = v.Volumes.Prepare(ctx, config) })
	return paths, err
}

func (v gatedVolumes) SubPath(ctx context.Context, part node.SubPath) (path string, err error) {
	v.gate.pass("Volumes.SubPath", func() { path, err = v.Volumes.SubPath(ctx, part) })
	return path, err
}

func (v gatedVolumes) Remove(ctx context.Context, uid string) (err error) {
	v.gate.pass("Volumes.Remove", func() { err = v.Volumes.Remove(ctx, uid) })
	return err
}

type gatedRouter struct {
	*iptables.Router
	gate *gate
}

func (r gatedRouter) SetHostPorts(ctx context.Context, ports []node.HostPort) (err error) {
	call := "Router.OpenHostPorts"
	if len(ports) == 0 {
		call = "Router.CloseHostPorts"
	}
	r.gate.pass(call, func() { err = r.Router.SetHostPorts(ctx, ports) })
	return err
}

func (r gatedRouter) Isolate(ctx context.Context, pods []node.IsolatedPod) (err error) {
	r.gate.pass("Router.Isolate", func() { err = r.Router.Isolate(ctx, pods) })
	return err
}

type gatedProber struct {
	*probe.Prober
	gate *gate
}

func (p gatedProber) Probe(ctx context.Context, handler corev1.ProbeHandler, ip netip.Addr, ports []corev1.ContainerPort) (err error) {
	p.gate.pass("Prober.Probe", func() { err = p.Prober.Probe(ctx, handler, ip, ports) })
	return err
}
