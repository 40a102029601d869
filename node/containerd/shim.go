package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	shimtask "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
)

const (
	// huntTime is how long containerd may be busy with a task whose maker was killed, and huntInterval how often is looked
	// meanwhile for the shim that it forgets.
	huntTime     = 6 * time.Second
	huntInterval = 100 * time.Millisecond
	// shimTimeout is within which a shim answers that can.
	shimTimeout = 3 * time.Second
)

// A shimHunt ends shims that containerd has forgotten. When a daemon is killed just as the first task of a shim is made,
// containerd kills what starts the shim; but the shim itself may be there already, or come soon after. It waits without
// end, for tasks or for a reader of its log.
type shimHunt struct {
	running sync.WaitGroup
	closing chan struct{}
}

// hunt looks for a while for the shim that was started for a half-made container.
func (r *Runtime) hunt(ctx context.Context, id string) {
	ctx = context.WithoutCancel(ctx)
	r.hunts.running.Go(func() {
		tick := time.NewTicker(huntInterval)
		defer tick.Stop()
		for until := time.Now().Add(huntTime); time.Now().Before(until); {
			if err := r.endShim(ctx, id); err != nil {
				r.options.Logger.WarnContext(ctx, "a shim without tasks does not end", "container", id, "error", err)
			}
			select {
			case <-tick.C:
			case <-r.hunts.closing:
				return
			}
		}
	})
}

// endShim ends the shim that was started for a container if it has no task. One that has takes no notice; one that does
// not answer is killed.
func (r *Runtime) endShim(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, shimTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", r.shimSocket(id))
	if err != nil {
		return nil // there is none, as almost always
	}
	c := ttrpc.NewClient(conn)
	defer c.Close()
	if _, err = shimtask.NewTTRPCTaskClient(c).Shutdown(ctx, &shimtask.ShutdownRequest{ID: id}); ctx.Err() == nil {
		return nil // it has answered, or has ended meanwhile
	}
	return errors.Join(err, r.killShim(id))
}

// killShim kills the shim that was started for a container, unless anything runs in its care.
func (r *Runtime) killShim(id string) error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, dir := range processes {
		if !r.isShimOf(dir, id) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return err
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// Seen again behind its descriptor, it is still that process and no other.
		if r.isShimOf(dir, id) && !hasChildren(dir) {
			return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
	}
	return nil
}

// isShimOf reports whether a process, by its directory in /proc, is the shim started for a container.
func (r *Runtime) isShimOf(dir, id string) bool {
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return false // it has ended
	}
	args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	// containerd's arguments: -namespace NAMESPACE -id ID -address ADDRESS; IDs are never used twice.
	return strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") &&
		follows(args, "-namespace", r.options.Namespace) && follows(args, "-id", id) && follows(args, "-address", r.options.Address)
}

func follows(args []string, flag, value string) bool {
	i := slices.Index(args, flag)
	return i >= 0 && i+1 < len(args) && args[i+1] == value
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
