package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/cgroups/v3"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"headway.dev/headway/node"
)

var _ node.ContainerKeeper = (*Runtime)(nil)

// Altered compares a container's control group with what the container was made with: that it is not frozen, its quota of CPU
// time, its memory and its number of processes. It reads a few files of the kernel's, and asks containerd once for each
// container.
func (r *Runtime) Altered(ctx context.Context, id string) (string, error) {
	frozen, limits, err := r.altered(r.scope(ctx), id)
	if err != nil {
		return "", fmt.Errorf("look whether container %s is as it was made: %w", id, err)
	}
	if frozen {
		limits = append([]string{"is frozen"}, limits...)
	}
	return strings.Join(limits, ", "), nil
}

func (r *Runtime) altered(ctx context.Context, id string) (frozen bool, limits []string, err error) {
	made, err := r.bounds.get(id, func() (*specs.LinuxResources, error) { return r.madeWith(ctx, id) })
	if err != nil {
		return false, nil, ignoreNotFound(err)
	}
	unified := cgroups.Mode() == cgroups.Unified
	if frozen, err = isFrozen(cgroupMount, r.cgroup(id), unified); err == nil {
		limits, err = otherBounds(cgroupMount, r.cgroup(id), unified, made)
	}
	if errors.Is(err, fs.ErrNotExist) { // it has ended
		r.bounds.forget(id)
		return false, nil, nil
	}
	return frozen, limits, err
}

// madeWith gives the resources of a container by its record.
func (r *Runtime) madeWith(ctx context.Context, id string) (*specs.LinuxResources, error) {
	record, err := r.client.ContainerService().Get(ctx, id)
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	if err := typeurl.UnmarshalTo(record.Spec, &spec); err != nil {
		return nil, err
	}
	if spec.Linux == nil || spec.Linux.Resources == nil {
		return &specs.LinuxResources{}, nil
	}
	return spec.Linux.Resources, nil
}

// Restore thaws a container, and gives its control group the bounds that it was made with.
func (r *Runtime) Restore(ctx context.Context, id string) error {
	ctx = r.scope(ctx)
	frozen, limits, err := r.altered(ctx, id)
	if err == nil && frozen {
		_, err = r.client.TaskService().Resume(ctx, &tasks.ResumeTaskRequest{ContainerID: id})
		err = ignoreNotFound(errgrpc.ToNative(err))
	}
	if err == nil && len(limits) > 0 {
		err = r.rebound(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("make container %s what it was: %w", id, err)
	}
	return nil
}

// rebound sets what otherBounds compares. What has no bound is told so, for the OCI runtime leaves alone what is not named.
func (r *Runtime) rebound(ctx context.Context, id string) error {
	made, err := r.bounds.get(id, func() (*specs.LinuxResources, error) { return r.madeWith(ctx, id) })
	if err != nil {
		return ignoreNotFound(err)
	}
	memory := memoryLimit(made)
	set := &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Quota: new(cpuQuota(made)), Period: new(uint64(quotaPeriod))},
		Memory: &specs.LinuxMemory{Limit: &memory},
		Pids:   made.Pids,
	}
	if r.host.swap {
		set.Memory.Swap = &memory
	}
	resources, err := typeurl.MarshalAnyToProto(set)
	if err != nil {
		return err
	}
	_, err = r.client.TaskService().Update(ctx, &tasks.UpdateTaskRequest{ContainerID: id, Resources: resources})
	return ignoreNotFound(errgrpc.ToNative(err))
}

// unbounded is the value of a bound that there is none.
const unbounded = -1

func memoryLimit(r *specs.LinuxResources) int64 {
	if r.Memory == nil || r.Memory.Limit == nil {
		return unbounded
	}
	return *r.Memory.Limit
}

func cpuQuota(r *specs.LinuxResources) int64 {
	if r.CPU == nil || r.CPU.Quota == nil {
		return unbounded
	}
	return *r.CPU.Quota
}

func processes(r *specs.LinuxResources) int64 {
	if r.Pids == nil || r.Pids.Limit == nil {
		return unbounded
	}
	return *r.Pids.Limit
}

// otherBounds says which bounds of a control group, of either version, are others than those of the resources.
func otherBounds(mount, group string, unified bool, made *specs.LinuxResources) ([]string, error) {
	var others []string
	for _, b := range []struct {
		name, controller, file, unifiedFile string
		made                                int64
	}{
		{"CPU quota in microseconds", "cpu", "cpu.cfs_quota_us", "cpu.max", cpuQuota(made)},
		{"memory limit", "memory", "memory.limit_in_bytes", "memory.max", memoryLimit(made)},
		{"limit of processes", "pids", "pids.max", "pids.max", processes(made)},
	} {
		file := filepath.Join(mount, b.controller, group, b.file)
		if unified {
			file = filepath.Join(mount, group, b.unifiedFile)
		}
		now, err := readBound(file)
		if err != nil {
			return nil, err
		}
		if now/pageSize != b.made/pageSize || b.name != "memory limit" && now != b.made { // memory is counted in pages
			others = append(others, fmt.Sprintf("has a %s of %s instead of %s", b.name, boundText(now), boundText(b.made)))
		}
	}
	return others, nil
}

// pageSize is the least page of all architectures, in bytes. Limits of memory are rounded to pages.
const pageSize = 4096

func boundText(n int64) string {
	if n == unbounded {
		return "none"
	}
	return strconv.FormatInt(n, 10)
}

// readBound reads the number that a file of a control group begins with.
func readBound(file string) (int64, error) {
	line, err := readLine(file)
	if err != nil {
		return 0, err
	}
	text, _, _ := strings.Cut(line, " ")
	if text == "max" {
		return unbounded, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	if n < 0 || n >= 1<<62 { // the first version's way to say none
		return unbounded, nil
	}
	return n, nil
}

// readLine reads a file of a control group that holds one short line. Four of every container are read every few seconds: os.ReadFile
// would make three times the system calls, since it prepares to wait for what is never waited for.
func readLine(file string) (string, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: file, Err: err}
	}
	var line [64]byte
	n, err := unix.Read(fd, line[:])
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return "", &fs.PathError{Op: "read", Path: file, Err: err}
	}
	return strings.TrimSpace(string(line[:n])), nil
}

// isFrozen reports whether the processes of a control group are stopped where they are.
func isFrozen(mount, group string, unified bool) (bool, error) {
	file := filepath.Join(mount, "freezer", group, "freezer.state")
	if unified {
		file = filepath.Join(mount, group, "cgroup.freeze")
	}
	state, err := readLine(file)
	return state == "1" || state == "FROZEN" || state == "FREEZING", err
}

// boundsCache keeps what containers were made with, by ID: it never changes.
type boundsCache struct {
	mu  sync.Mutex
	all map[string]*specs.LinuxResources
}

func (c *boundsCache) get(id string, find func() (*specs.LinuxResources, error)) (*specs.LinuxResources, error) {
	c.mu.Lock()
	known := c.all[id]
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	found, err := find()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]*specs.LinuxResources{}
	}
	// Only what is compared: a specification has long lists of devices.
	c.all[id] = &specs.LinuxResources{CPU: found.CPU, Memory: found.Memory, Pids: found.Pids}
	return c.all[id], nil
}

func (c *boundsCache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, id)
}
