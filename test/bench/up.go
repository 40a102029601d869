package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// upNamespace is containerd's namespace for the node of "headway up".
const upNamespace = "headway-bench-up"

// upGrace is how long it may take to end.
const upGrace = 10 * time.Second

// An up is "headway up" in a network namespace of its own.
type up struct {
	b          *bench
	containerd string
	dir        string
	cmd        *exec.Cmd
}

// startUp starts everything in one process, beside the lab, on the lab's repository.
func (b *bench) startUp(ctx context.Context, containerd string) (*up, error) {
	u := &up{b: b, containerd: containerd, dir: filepath.Join(b.c.Dir, "up")}
	u.cmd = u.isolated(ctx, "up", "--repo", b.c.Repo.Origin, "--branch", "main", "--address", "127.0.0.1", "--dir", u.dir, "--eviction-hard", "")
	if err := u.cmd.Start(); err != nil {
		return nil, err
	}
	return u, nil
}

// isolated is a headway command in a new network namespace, in which nothing but loopback is.
func (u *up) isolated(ctx context.Context, command string, args ...string) *exec.Cmd {
	all := append([]string{"-c", `ip link set lo up && exec "$0" "$@"`, u.b.c.Binary, command}, args...)
	cmd := exec.CommandContext(ctx, "sh", append(all, "--containerd", u.containerd, "--containerd-namespace", upNamespace)...)
	cmd.Stderr = u.b.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	return cmd
}

func (u *up) pid() int { return u.cmd.Process.Pid }

// end stops the process and removes what its node made.
func (u *up) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*upGrace)
	defer cancel()
	killer := time.AfterFunc(upGrace, func() { _ = u.cmd.Process.Kill() })
	if err := u.cmd.Process.Signal(syscall.SIGTERM); err == nil {
		_ = u.cmd.Wait() // how it ended does not matter to what was measured
	}
	killer.Stop()
	cleanup := u.isolated(ctx, "node", "--cleanup", "--pod-cidr", "10.244.0.0/24", "--dir", filepath.Join(u.dir, "node"))
	cleanup.Stderr = nil // for CombinedOutput
	if out, err := cleanup.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: clean up after headway up: %v\n%s", err, out)
	}
}
