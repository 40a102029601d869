package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strconv"

	"github.com/containerd/containerd/api/types/task"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/thread"
	"headway.dev/headway/node"
	"headway.dev/headway/node/containerd/rootfs"
)

var (
	_ node.FileCopier = (*Runtime)(nil)
	_ node.Forwarder  = (*Runtime)(nil)
)

// errNotRunning is the error of what needs a running container.
var errNotRunning = errors.New("it does not run")

// openProcess opens a file that the kernel has for a container's first process. The number of a process may be given away
// to another: so the container is looked at again afterwards, which then still has the process that it had before.
func (r *Runtime) openProcess(ctx context.Context, id, name string, flags int) (*os.File, error) {
	before, err := r.task(ctx, id)
	if err != nil {
		return nil, err
	}
	if before == nil || before.Pid == 0 {
		return nil, errNotRunning
	}
	f, err := os.OpenFile(path.Join("/proc", strconv.FormatUint(uint64(before.Pid), 10), name), flags, 0)
	if err != nil {
		return nil, err
	}
	after, err := r.task(ctx, id)
	if err == nil && (after == nil || after.Pid != before.Pid || after.Status == task.Status_STOPPED) {
		err = errNotRunning
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Dial connects to a TCP port of the loopback that the container sees, by IPv4 or else IPv6.
func (r *Runtime) Dial(ctx context.Context, id string, port uint16) (net.Conn, error) {
	conn, err := r.dial(r.scope(ctx), id, strconv.Itoa(int(port)))
	if err != nil {
		return nil, fmt.Errorf("port %d of container %s: %w", port, id, err)
	}
	return conn, nil
}

func (r *Runtime) dial(ctx context.Context, id, port string) (net.Conn, error) {
	namespace, err := r.openProcess(ctx, id, "ns/net", os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	var conn net.Conn
	err = thread.Do(func() error {
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter its network: %w", err)
		}
		// The addresses are numeric and dialled one by one, so that nothing happens on other threads.
		conn, err = new(net.Dialer).DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", port))
		if errors.Is(err, unix.ECONNREFUSED) {
			if six, err6 := new(net.Dialer).DialContext(ctx, "tcp6", net.JoinHostPort("::1", port)); err6 == nil {
				conn, err = six, nil
			}
		}
		return err
	})
	return conn, err
}

// ReadFiles writes a file, or a directory with all below it, as a tar archive.
func (r *Runtime) ReadFiles(ctx context.Context, id, name string, archive io.Writer, skipped func(why string)) error {
	root, process, err := r.openRoot(r.scope(ctx), id)
	if err != nil {
		return fmt.Errorf("read %s in container %s: %w", name, id, err)
	}
	defer root.Close()
	return rootfs.Read(ctx, root, absolute(process, name), archive, skipped)
}

// WriteFiles unpacks a tar archive into a directory, or as the path if that is none. What is new belongs to the
// container's user.
func (r *Runtime) WriteFiles(ctx context.Context, id, name string, archive io.Reader) error {
	root, process, err := r.openRoot(r.scope(ctx), id)
	if err != nil {
		return fmt.Errorf("write %s in container %s: %w", name, id, err)
	}
	defer root.Close()
	owner := rootfs.Owner{UID: int(process.User.UID), GID: int(process.User.GID)}
	return rootfs.Write(ctx, root, absolute(process, name), archive, owner)
}

// openRoot opens the root directory of a running container as it sees it itself, with all that is mounted there.
func (r *Runtime) openRoot(ctx context.Context, id string) (*os.File, *specs.Process, error) {
	process, _, err := r.process(ctx, id, nil)
	if err != nil {
		return nil, nil, err
	}
	root, err := r.openProcess(ctx, id, "root", unix.O_PATH|unix.O_DIRECTORY)
	return root, process, err
}

func absolute(process *specs.Process, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", process.Cwd, name)
}
