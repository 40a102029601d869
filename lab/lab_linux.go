package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is the name of the control plane among a lab's daemons.
const server = "server"

// A Lab is a cluster that is up, or was.
type Lab struct{ state }

// Up makes a lab and starts its daemons. It returns before the nodes are ready; what it made stays when it fails, for
// Down to take away.
func Up(_ context.Context, o Options) (*Lab, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(statePath(o.Dir)); err == nil {
		return nil, fmt.Errorf("a lab is up in %s already: \"headway lab down\" ends it", o.Dir)
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "log"), 0o700); err != nil {
		return nil, err
	}
	l := &Lab{state{Options: o, Daemons: map[string]process{}}}
	// Remembered before anything is made, so that a lab half made can be taken down.
	if err := l.save(); err != nil {
		return nil, err
	}
	if err := o.makeTopology(); err != nil {
		return nil, err
	}
	return l, nil
}

// Open finds the lab in a directory; ErrNoLab when there is none.
func Open(dir string) (*Lab, error) {
	s, err := loadState(dir)
	if err != nil {
		return nil, err
	}
	return &Lab{s}, nil
}

// Start starts the named daemons, or all, where they do not run.
func (l *Lab) Start(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = l.Names()
	}
	for _, name := range names {
		if err := l.start(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) start(ctx context.Context, name string) error {
	if l.Daemons[name].running() {
		return nil
	}
	netns, command := "hub", l.Options.serverCommand()
	if name != server {
		n, err := l.number(name)
		if err != nil {
			return err
		}
		netns, command = name, l.Options.nodeCommand(n)
		if err := awaitFile(ctx, l.Options.credentials("node")); err != nil {
			return fmt.Errorf("the control plane has not made its credentials (%w); see %s", err, l.LogPath(server))
		}
	}
	p, err := spawn(l.Options.netnsPath(netns), l.LogPath(name), command...)
	if err != nil {
		return err
	}
	l.Daemons[name] = p
	return l.save()
}

// serverCommand is the control plane's command line.
func (o Options) serverCommand() []string {
	command := []string{
		o.Binary, "server",
		"--repo", o.Repository, "--branch", o.Branch, "--path", o.Path,
		"--dir", filepath.Join(o.Dir, server),
		"--listen", hubAddress().String() + ":" + strconv.Itoa(busPort),
		"--service-cidr", serviceCIDR,
	}
	if o.NodeLease != "" {
		command = append(command, "--node-lease", o.NodeLease)
	}
	if o.AutoscalerPeriod != "" {
		command = append(command, "--autoscaler-period", o.AutoscalerPeriod)
	}
	if o.FailoverLease != "" {
		command = append(command, "--failover-lease", o.FailoverLease)
	}
	return command
}

// nodeCommand is the command line of the n-th node.
func (o Options) nodeCommand(n int) []string {
	name := nodeName(n)
	command := []string{
		o.Binary, "node",
		"--name", name,
		"--dir", filepath.Join(o.Dir, name),
		"--run-dir", filepath.Join("/run/headway/lab", o.Name, name),
		"--credentials", o.credentials("node"),
		"--address", nodeAddress(n).String(),
		"--pod-cidr", podCIDR(n).String(),
		"--cluster-cidr", clusterCIDR,
		"--service-cidr", serviceCIDR,
		"--containerd", o.Containerd,
		"--containerd-namespace", "headway-" + o.Name + "-" + name,
		"--cgroup", "/headway-" + o.Name + "/" + name,
		// The lab has no way out; images come by the network of the machine itself.
		"--pull-netns", o.netnsPath(outside),
		// All nodes share the disks and the memory of a machine that is used for other things too: how full those are is not the
		// fleet's to mend.
		"--eviction-hard", "",
		"--image-gc-high-threshold", "100",
	}
	if o.ImageDir != "" {
		command = append(command, "--image-dir", o.ImageDir)
	}
	if o.RegistryConfig != "" {
		command = append(command, "--registry-config", o.RegistryConfig)
	}
	return command
}

// Cut takes a node off the network; its pods run on.
func (l *Lab) Cut(name string) error {
	n, err := l.number(name)
	if err != nil {
		return err
	}
	return l.Options.setCable(n, false)
}

// Heal connects a node again, and starts its daemon when it does not run.
func (l *Lab) Heal(ctx context.Context, name string) error {
	n, err := l.number(name)
	if err != nil {
		return err
	}
	if err := l.Options.setCable(n, true); err != nil {
		return err
	}
	return l.start(ctx, name)
}

// Kill is a machine lost at once and for good: no network, no daemon, no pods, and an empty disk should it come back.
func (l *Lab) Kill(ctx context.Context, name string) error {
	if err := l.Cut(name); err != nil {
		return err
	}
	if err := l.Daemons[name].end(ctx, 0); err != nil {
		return err
	}
	n, err := l.number(name)
	if err != nil {
		return err
	}
	return l.wipe(ctx, n)
}

// wipe removes what a node's daemon made: pods, images, mounts and rules.
func (l *Lab) wipe(ctx context.Context, n int) error {
	name := nodeName(n)
	var output strings.Builder
	command := append(l.Options.nodeCommand(n), "--cleanup")
	if err := runIn(ctx, l.Options.netnsPath(name), &output, command...); err != nil {
		return fmt.Errorf("clean up %s: %w\n%s", name, err, output.String())
	}
	return os.RemoveAll(filepath.Join(l.Options.Dir, name))
}

// Down ends every daemon and removes all that the lab made on the machine. It can be called again after a failure.
func (l *Lab) Down(ctx context.Context) error {
	const grace = 5 * time.Second
	for _, name := range l.Names() {
		if err := l.Daemons[name].end(ctx, grace); err != nil {
			return fmt.Errorf("end %s: %w", name, err)
		}
	}
	var errs []error
	for n := 1; n <= l.Options.Nodes; n++ {
		if _, err := os.Stat(l.Options.netnsPath(nodeName(n))); err == nil {
			errs = append(errs, l.wipe(ctx, n))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := l.Options.removeTopology(); err != nil {
		return err
	}
	return os.RemoveAll(l.Options.Dir)
}

// Exec replaces this process by a command in the network namespace of a node, or of the hub. It returns only on failure.
func (l *Lab) Exec(name string, command ...string) error {
	if _, err := l.number(name); err != nil && name != "hub" {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return within(l.Options.netnsPath(name), func() error {
		return syscall.Exec(path, command, os.Environ())
	})
}

// Names lists the daemons: the server, then the nodes in order.
func (l *Lab) Names() []string {
	names := []string{server}
	for n := 1; n <= l.Options.Nodes; n++ {
		names = append(names, nodeName(n))
	}
	return names
}

// A Daemon is one process of the lab.
type Daemon struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Running bool   `json:"running"`
	Address string `json:"address"`
	Log     string `json:"log"`
}

// Status says of each daemon whether it runs.
func (l *Lab) Status() []Daemon {
	var all []Daemon
	for i, name := range l.Names() {
		address := hubAddress()
		if i > 0 {
			address = nodeAddress(i)
		}
		p := l.Daemons[name]
		all = append(all, Daemon{Name: name, PID: p.PID, Running: p.running(), Address: address.String(), Log: l.LogPath(name)})
	}
	return all
}

// LogPath is where a daemon writes its log.
func (l *Lab) LogPath(name string) string { return filepath.Join(l.Options.Dir, "log", name+".log") }

// HubNetns is the path of the namespace in which the bus can be reached.
func (l *Lab) HubNetns() string { return l.Options.netnsPath("hub") }

// Credentials is the file by which a person reads the bus; the server makes it when it starts.
func (l *Lab) Credentials() string { return l.Options.credentials("operator") }

func (o Options) credentials(user string) string {
	return filepath.Join(o.Dir, server, "bus", "credentials", user+".json")
}

func nodeName(n int) string { return "n" + strconv.Itoa(n) }

// number is the place of a node among the lab's, counted from one.
func (l *Lab) number(name string) (int, error) {
	names := l.Names()
	if n := slices.Index(names, name); n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("the lab has no node %q: it has %s", name, strings.Join(names[1:], ", "))
}

// awaitFile waits for a daemon to make a file.
func awaitFile(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", path, ctx.Err())
		case <-tick.C:
		}
	}
}
