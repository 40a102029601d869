package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"

	"headway.dev/headway/node"
)

// Create makes a container that has not started: a snapshot on its image, a record, and a task, which is the process that
// waits in its namespaces. One that is there already is found, whatever its state; one that is only half made is cleared
// away. The image must be on the machine.
func (r *Runtime) Create(ctx context.Context, config node.ContainerConfig) (string, error) {
	id, err := r.create(r.scope(ctx), config)
	if err != nil {
		return "", fmt.Errorf("create container %s of %s: %w", config.Container.Name, config.Pod.Pod, err)
	}
	return id, nil
}

func (r *Runtime) create(ctx context.Context, config node.ContainerConfig) (string, error) {
	i, err := r.image(ctx, config.Container.Image)
	if err != nil {
		return "", err
	}
	// Whether the pod has a shim must not change meanwhile.
	unlock, err := r.pods.take(ctx, config.Pod.UID)
	if err != nil {
		return "", err
	}
	defer unlock()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	found, group, err := r.lookFor(ctx, config)
	if err != nil || found != "" {
		return found, err
	}
	id := newContainerID(config.Pod.UID, config.Container.Name, config.Attempt)
	if group == "" {
		group = id
	}
	defer r.busy.begin(id)()
	r.roster.add(config.Pod.UID, id)
	if err := r.make(ctx, id, group, i, config); err != nil {
		r.sweeps.foundSome()
		ctx, cancel := clearing(ctx)
		defer cancel()
		return "", errors.Join(err, r.discard(ctx, id))
	}
	return id, nil
}

// lookFor finds a container that is there already, or else the pod's shim, if it has one.
//
// A shim ends with the last of its tasks, but takes new ones until it has: a container that were made in that moment
// would be lost. So one is shared only while another container holds it, and a new one has a name that was never used.
func (r *Runtime) lookFor(ctx context.Context, config node.ContainerConfig) (id, group string, err error) {
	siblings, err := r.recordsOf(ctx, config.Pod.UID)
	if err != nil {
		return "", "", err
	}
	for _, s := range siblings {
		has, err := r.hasTask(ctx, s.ID)
		if err != nil {
			return "", "", err
		}
		if isRun(s.Labels, config.Container.Name, config.Attempt) {
			if has || s.Labels[labelStarted] != "" {
				return s.ID, "", nil
			}
			if err := r.discardUnstarted(ctx, s); err != nil {
				return "", "", err
			}
		}
		if has {
			group = s.Labels[labelGroup]
		}
	}
	return "", group, nil
}

func (r *Runtime) hasTask(ctx context.Context, id string) (bool, error) {
	_, err := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// make makes all parts of a container. After an error some may be there.
func (r *Runtime) make(ctx context.Context, id, group string, i *image, config node.ContainerConfig) error {
	mounts, err := r.prepare(ctx, id, i)
	if err != nil {
		return err
	}
	if err := i.users.load(mounts); err != nil {
		return err
	}
	spec, err := r.specFor(ctx, id, group, i, config)
	if err != nil {
		return err
	}
	if config.Confidential {
		if err := r.sealed.seal(id, spec); err != nil {
			return err
		}
	}
	labels := labelsFor(config, group)
	if by, err := parseSignal(i.config.StopSignal); err == nil {
		labels[client.StopSignalLabel] = strconv.Itoa(int(by))
	} else if i.config.StopSignal != "" {
		r.options.Logger.WarnContext(ctx, "an image names no signal to stop its containers by: it is SIGTERM", "image", i.name, "error", err)
	}
	if err := r.record(ctx, id, i, spec, labels); err != nil {
		return err
	}
	return r.makeTask(ctx, id, config, mounts)
}

// prepare makes the snapshot that a container writes to.
func (r *Runtime) prepare(ctx context.Context, id string, i *image) ([]mount.Mount, error) {
	service := r.client.SnapshotService(r.options.Snapshotter)
	mounts, err := service.Prepare(ctx, id, i.chainID, snapshots.WithLabels(map[string]string{labelRoot: time.Now().UTC().Format(time.RFC3339)}))
	if errdefs.IsNotFound(err) {
		r.images.drop(i.name)
		return nil, &node.ImageError{Image: i.name, Reason: reasonPull, Err: errors.New("it was removed from this machine: it has to be brought here again")}
	} else if err != nil {
		return nil, fmt.Errorf("prepare its snapshot: %w", err)
	}
	return mounts, nil
}

// record makes the container's record in containerd.
func (r *Runtime) record(ctx context.Context, id string, i *image, spec *specs.Spec, labels map[string]string) error {
	content, err := typeurl.MarshalAny(spec)
	if err != nil {
		return err
	}
	_, err = r.client.ContainerService().Create(ctx, containers.Container{
		ID: id, Labels: labels, Image: i.name, Spec: content,
		Runtime:     containers.RuntimeInfo{Name: defaults.DefaultRuntime},
		Snapshotter: r.options.Snapshotter, SnapshotKey: id,
	})
	if err != nil {
		return fmt.Errorf("make its record: %w", err)
	}
	return nil
}

// makeTask makes the process of a container, which waits to be started. The shim appends both of its output streams to
// the log.
//
// It is not cut off in the middle: containerd would kill what starts the shim, and the shim itself would stay.
func (r *Runtime) makeTask(ctx context.Context, id string, config node.ContainerConfig, mounts []mount.Mount) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stdout, stderr, err := outputs(config.LogPath)
	if err != nil {
		return err
	}
	request := &tasks.CreateTaskRequest{ContainerID: id, Stdout: stdout, Stderr: stderr}
	if config.Confidential {
		if request.Options, err = r.sealed.runtimeOptions(); err != nil {
			return err
		}
	}
	for _, m := range mounts {
		request.Rootfs = append(request.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), taskTimeout)
	defer cancel()
	if _, err := r.client.TaskService().Create(ctx, request); err != nil {
		return fmt.Errorf("make its task: %w", blame(inWords(errgrpc.ToNative(err), mountWords(config)...)))
	}
	return nil
}

// outputs gives the names by which the shim finds the log, which has to be there. They are two for one file: where both
// are the same, the shim of 1.6 opens it once, and closes it with the first of the outputs that ends.
func outputs(logPath string) (stdout, stderr string, err error) {
	if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
		return "", "", fmt.Errorf("log file: %w", err)
	}
	f, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return "", "", fmt.Errorf("log file: %w", err)
	}
	return logPath, filepath.Dir(logPath) + "/./" + filepath.Base(logPath), f.Close()
}

// taskTimeout bounds the making of a task, which takes well under a second on a machine that is not ill.
const taskTimeout = 2 * time.Minute
