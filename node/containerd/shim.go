package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	shimtask "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
)

// shimTimeout is within which a shim ends that can.
const shimTimeout = 3 * time.Second

// A shim is the process that has a pod's containers in its care, by the first of them, for which it was started.
type shim struct {
	id  string // of that container
	dir string // of the process in /proc
}

// shims lists those of the namespace.
func (r *Runtime) shims() ([]shim, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var all []shim
	for _, dir := range processes {
		if id, ok := r.shimOf(dir); ok {
			all = append(all, shim{id, dir})
		}
	}
	return all, nil
}

// endShim ends a shim whose containers are all gone. containerd forgets one when a daemon is killed just as the first task
// of it is made: it kills what starts the shim, but the shim itself may be there already, or come soon after, and waits
// without end, for tasks or for a reader of its log. One that does not answer is killed.
func (r *Runtime) endShim(ctx context.Context, s shim) error {
	ctx, cancel := context.WithTimeout(ctx, shimTimeout)
	defer cancel()
	pid, err := strconv.Atoi(filepath.Base(s.dir))
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(fd)
	// Seen again behind its descriptor, it is that process and no other.
	if id, ok := r.shimOf(s.dir); !ok || id != s.id {
		return nil
	}
	asked := r.askToEnd(ctx, s.id)
	if ended, err := awaitEnd(ctx, fd); ended || err != nil {
		return err
	}
	if hasChildren(s.dir) {
		return fmt.Errorf("it has processes in its care, and does not end: %w", asked)
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

// askToEnd has a shim delete the task that it was started for, if there is one of which containerd does not know, and end.
func (r *Runtime) askToEnd(ctx context.Context, id string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", r.shimSocket(id))
	if err != nil {
		return err
	}
	c := ttrpc.NewClient(conn)
	defer c.Close()
	service := shimtask.NewTTRPCTaskClient(c)
	if _, err := service.Delete(ctx, &shimtask.DeleteRequest{ID: id}); err != nil && ctx.Err() != nil {
		return err
	}
	_, err = service.Shutdown(ctx, &shimtask.ShutdownRequest{ID: id})
	return err
}

// awaitEnd waits until a process has ended, and reports false if it has not when the context is done.
func awaitEnd(ctx context.Context, pidfd int) (bool, error) {
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(pollInterval.Milliseconds()))
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return false, err
		case n > 0:
			return true, nil
		case ctx.Err() != nil:
			return false, nil
		}
	}
}

// pollInterval bounds how long it takes to see that a context is done.
const pollInterval = 100 * time.Millisecond

// shimOf gives the container that a process is the shim for, by its directory in /proc. The short-lived commands of the same
// program, which start one or clear up after one, are none.
func (r *Runtime) shimOf(dir string) (id string, ok bool) {
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return "", false // it has ended
	}
	args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	if !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") || slices.Contains([]string{"start", "delete"}, args[len(args)-1]) {
		return "", false
	}
	// containerd's arguments: -namespace NAMESPACE -id ID -address ADDRESS; IDs are never used twice.
	id = argument(args, "-id")
	return id, id != "" && argument(args, "-namespace") == r.options.Namespace && argument(args, "-address") == r.options.Address
}

// argument is that after a flag; empty if there is none.
func argument(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// hasChildren reports whether a process has any; if that cannot be found out, it may have.
func hasChildren(dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "task", "*", "children"))
	if err != nil || len(files) == 0 {
		return true
	}
	for _, f := range files {
		if children, err := os.ReadFile(f); err != nil || len(children) > 0 {
			return true
		}
	}
	return false
}

// shimSocket is where the shim of a group listens, whatever containerd's state directory: containerd's runtime/v2 shims
// have had this rule since 1.3.
func (r *Runtime) shimSocket(group string) string {
	sum := sha256.Sum256([]byte(filepath.Join(r.options.Address, r.options.Namespace, group)))
	return filepath.Join(defaults.DefaultStateDir, "s", hex.EncodeToString(sum[:]))
}
