package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"path/filepath"
	"time"

	shimtask "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/ttrpc"
)

// shimTimeout bounds a call to a shim.
const shimTimeout = 10 * time.Second

// endShim ends the shim of a group, should it live without a task: when a daemon is killed just as its first task is made,
// containerd kills what starts the shim, and forgets the shim itself. A shim that has tasks takes no notice.
func (r *Runtime) endShim(ctx context.Context, id, group string) {
	dial := net.Dialer{Timeout: shimTimeout}
	conn, err := dial.DialContext(ctx, "unix", r.shimSocket(group))
	if err != nil {
		return // there is none, as almost always
	}
	c := ttrpc.NewClient(conn)
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, shimTimeout)
	defer cancel()
	if _, err := shimtask.NewTTRPCTaskClient(c).Shutdown(ctx, &shimtask.ShutdownRequest{ID: id}); err != nil {
		r.options.Logger.WarnContext(ctx, "a shim without tasks does not end", "container", id, "error", err)
	}
}

// shimSocket is where the shim of a group listens, whatever containerd's state directory: containerd's runtime/v2 shims
// have had this rule since 1.3.
func (r *Runtime) shimSocket(group string) string {
	sum := sha256.Sum256([]byte(filepath.Join(r.options.Address, r.options.Namespace, group)))
	return filepath.Join(defaults.DefaultStateDir, "s", hex.EncodeToString(sum[:]))
}
