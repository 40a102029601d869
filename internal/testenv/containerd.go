// Package testenv gives tests, the demonstration and the benchmarks the containerd that they stand on: the one they are
// told of, the machine's own, or a private one that is gone with them.
package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Variable names the environment variable that holds the socket of the containerd to use.
const Variable = "HEADWAY_CONTAINERD"

const (
	// Directories of private ones are in parent, which is short because a socket's path is at most 107 bytes.
	parent   = "/tmp"
	prefix   = "headway-containerd-"
	lockFile = "lock"

	systemSocket = "/run/containerd/containerd.sock"
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

// StartContainerd finds a containerd: the one of $HEADWAY_CONTAINERD, else the machine's own if it answers, else one that
// it starts with all of its state in a temporary directory. It returns the socket, and what ends and clears away the
// private one; a containerd that was there before is left alone. The context bounds the start only.
func StartContainerd(ctx context.Context) (address string, end func() error, err error) {
	if address := os.Getenv(Variable); address != "" {
		if err := answers(ctx, address); err != nil {
			return "", nil, fmt.Errorf("$%s: %w", Variable, err)
		}
		return address, leave, nil
	}
	if answers(ctx, systemSocket) == nil {
		return systemSocket, leave, nil
	}
	p, err := StartPrivate(ctx)
	if err != nil {
		return "", nil, err
	}
	return p.Address(), p.Close, nil
}

func leave() error { return nil }

// answers reports whether something listens on a socket.
func answers(ctx context.Context, socket string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

// A Private is a containerd that keeps everything it has in a temporary directory.
type Private struct {
	dir   string
	lock  *os.File // on a file in dir, for as long as this process lives
	cmd   *exec.Cmd
	log   bytes.Buffer  // what it wrote; read only when it has ended
	ended chan struct{} // closed when the process has ended
}

// config leaves out the plugins that take time to start or need what a test machine lacks. The version is one that every
// containerd since 1.2 reads.
const config = `version = 2
root = %[1]q
state = %[2]q
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.opt",
]
[grpc]
  address = %[3]q
`

// Dir is its directory. What else is put there is cleared away with it, mounts too: by the next one, if this process is
// killed.
func (p *Private) Dir() string { return p.dir }

// Address is its socket.
func (p *Private) Address() string { return filepath.Join(p.dir, "containerd.sock") }

// StartPrivate starts a containerd and waits until it answers. The context bounds the start only. What processes that
// were killed have left of theirs is cleared away first.
func StartPrivate(ctx context.Context) (*Private, error) {
	if err := clearStale(); err != nil {
		return nil, fmt.Errorf("clear away what is left of an earlier containerd: %w", err)
	}
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, err
	}
	p := &Private{dir: dir}
	if err := p.prepare(); err != nil {
		return nil, errors.Join(err, p.clear())
	}
	if err := p.start(ctx); err != nil {
		return nil, fmt.Errorf("start a containerd of our own: %w", errors.Join(err, p.clear()))
	}
	return p, nil
}

// prepare takes the lock and writes the configuration.
func (p *Private) prepare() error {
	// It has its name only when it is locked, so that nobody finds it unlocked.
	unnamed := filepath.Join(p.dir, "."+lockFile)
	var err error
	if p.lock, err = os.Create(unnamed); err != nil {
		return err
	}
	if err := unix.Flock(int(p.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w", p.dir, err)
	}
	if err := os.Rename(unnamed, filepath.Join(p.dir, lockFile)); err != nil {
		return err
	}
	content := fmt.Sprintf(config, filepath.Join(p.dir, "root"), filepath.Join(p.dir, "state"), p.Address())
	return os.WriteFile(p.configFile(), []byte(content), 0o600)
}

// clearStale clears away the directories whose lock nobody holds: their processes were killed before they could.
func clearStale() error {
	locks, err := filepath.Glob(filepath.Join(parent, prefix+"*", lockFile))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range locks {
		f, err := os.Open(name)
		if err != nil {
			continue // it is being cleared away
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			errs = append(errs, (&Private{dir: filepath.Dir(name), lock: f}).clear())
		} else {
			f.Close()
		}
	}
	return errors.Join(errs...)
}

// Restart kills the process, as a crash does, and starts it again. Its shims and their containers live on.
func (p *Private) Restart(ctx context.Context) error {
	if err := p.Kill(); err != nil {
		return err
	}
	return p.start(ctx)
}

// Kill kills the process; Restart starts it again.
func (p *Private) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

// Close stops the process, and then whatever tests have left: shims with their containers, mounts, files.
func (p *Private) Close() error {
	if err := p.stop(); err != nil {
		return err
	}
	return p.clear()
}

func (p *Private) configFile() string { return filepath.Join(p.dir, "config.toml") }

func (p *Private) start(ctx context.Context) error {
	program, err := exec.LookPath("containerd")
	if err != nil {
		return fmt.Errorf("%w: install it with make setup", err)
	}
	p.log.Reset()
	p.ended = make(chan struct{})
	p.cmd = exec.Command(program, "--config", p.configFile(), "--log-level", "warn")
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	// A test that panics or runs out of time cannot end it: the kernel does.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.run(); err != nil {
		return err
	}
	if err := p.ready(ctx); err != nil {
		return errors.Join(err, p.Kill(), errors.New(p.log.String()))
	}
	return nil
}

// run starts the process and waits for it on a thread that lives as long as it does: the signal at the parent's death is
// sent when the thread that made the process ends.
func (p *Private) run() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in what it wrote
			close(p.ended)
		}
	}()
	return <-started
}

// ready waits until the socket answers.
func (p *Private) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(ctx, p.Address()) == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return errors.New("containerd ended as it started")
		case <-ctx.Done():
			return fmt.Errorf("containerd does not answer: %w", ctx.Err())
		}
	}
}

// clear takes away what a process that has ended leaves.
func (p *Private) clear() error {
	return errors.Join(killShims(p.Address()), p.removeSockets(), unmountBelow(p.dir), os.RemoveAll(p.dir), p.lock.Close())
}

func (p *Private) stop() error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	// It has not been waited for, so the number is still its own.
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timeout.C:
	}
	return p.Kill()
}

// removeSockets removes the sockets of shims that were killed; they are outside of the state directory, and each bundle
// notes its own.
func (p *Private) removeSockets() error {
	notes, err := filepath.Glob(filepath.Join(p.dir, "state", "io.containerd.runtime.v2.task", "*", "*", "address"))
	if err != nil {
		return err
	}
	var errs []error
	for _, note := range notes {
		address, err := os.ReadFile(note)
		if err != nil {
			continue
		}
		socket := strings.TrimPrefix(strings.TrimSpace(string(address)), "unix://")
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
