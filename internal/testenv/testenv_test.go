package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrivate starts a containerd, leaves in it what a failed test may leave, and looks that nothing stays.
func TestPrivate(t *testing.T) {
	RequireRoot(t)
	p, err := StartPrivate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := p.cmd.Process.Pid
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.cmd.Process.Pid == first {
		t.Error("the same process after a restart")
	}
	if err := answers(t.Context(), p.Address()); err != nil {
		t.Error(err)
	}

	shim, child := fakeShim(t, p)
	mountpoint := filepath.Join(p.dir, "state", "rootfs")
	if err := os.MkdirAll(mountpoint, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("left", mountpoint, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := Shims(p.Address(), "left"); err != nil || !slices.Contains(got, shim) {
		t.Errorf("shims of the namespace: %v, %v; want %d", got, err, shim)
	}
	if got, err := Shims(p.Address(), "other"); err != nil || len(got) != 0 {
		t.Errorf("shims of another namespace: %v, %v", got, err)
	}

	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if answers(t.Context(), p.Address()) == nil {
		t.Error("it still answers")
	}
	if _, err := os.Stat(p.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory: %v", err)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), p.dir) {
		t.Errorf("mounts are left:\n%s", mounts)
	}
	// One that has ended has no arguments, even if nobody has asked for its end yet.
	if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); len(args) > 0 {
		t.Errorf("the container's process still runs: %q", args)
	}
}

// fakeShim starts a shell that looks like a shim with a container's process.
func fakeShim(t *testing.T, p *Private) (shim, child int) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "containerd-shim-fake")
	// The shim reaps its child, as real ones do.
	script := "#!/bin/sh\nsleep 1000 & echo $!\nwait\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", program, "-namespace", "left", "-id", "x", "-address", p.Address())
	cmd.Args[0] = "containerd-shim-fake"
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // where the test failed before
		<-ended
	})
	line := make([]byte, 16)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.TrimSpace(string(line[:n])) {
		child = child*10 + int(c-'0')
	}
	return cmd.Process.Pid, child
}

// TestStale finds what a process left that was killed, and leaves alone what one has that lives.
func TestStale(t *testing.T) {
	RequireRoot(t)
	left := make([]string, 2)
	for i := range left {
		dir, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		left[i] = filepath.Join(dir, lockFile)
	}
	held := &Private{dir: filepath.Dir(left[0])}
	if err := held.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left[1], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := clearStale(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left[0]); err != nil {
		t.Errorf("that of a process that lives: %v", err)
	}
	if _, err := os.Stat(left[1]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("that of a process that was killed: %v", err)
	}
	if err := held.clear(); err != nil {
		t.Error(err)
	}
}

func TestStartTakesWhatIsNamed(t *testing.T) {
	t.Setenv(Variable, filepath.Join(t.TempDir(), "none.sock"))
	if _, _, err := StartContainerd(context.Background()); err == nil || !strings.Contains(err.Error(), Variable) {
		t.Errorf("a socket that does not answer: %v", err)
	}
}
