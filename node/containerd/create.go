package containerd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"

	"headway.dev/headway/node"
)

// Create makes a container that has not started: a snapshot on its image, a record, and a task, which is the process that
// waits in its namespaces. One that is there already is found, whatever its state. The image must be on the machine.
func (r *Runtime) Create(ctx context.Context, config node.ContainerConfig) (string, error) {
	id := containerID(config.Pod.UID, config.Container.Name, config.Attempt)
	if err := r.create(r.scope(ctx), id, config); err != nil {
		return "", fmt.Errorf("create container %s of %s: %w", config.Container.Name, config.Pod.Pod, err)
	}
	return id, nil
}

func (r *Runtime) create(ctx context.Context, id string, config node.ContainerConfig) error {
	i, err := r.image(ctx, config.Container.Image)
	if err != nil {
		return err
	}
	// Whether the pod has a shim must not change meanwhile.
	unlock, err := r.pods.lock(ctx, config.Pod.UID)
	if err != nil {
		return err
	}
	defer unlock()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	group, found, err := r.shimGroup(ctx, id, config.Pod.UID)
	if err != nil || found {
		return err
	}
	if err := r.make(ctx, id, group, i, config); err != nil {
		ctx, cancel := clearing(ctx)
		defer cancel()
		return errors.Join(err, r.discard(ctx, id))
	}
	return nil
}

// shimGroup names the shim for a container that is to be made, and reports whether the container is there already. What
// of it is only half made is cleared away.
//
// A shim ends with the last of its tasks, but takes new ones until it has: a container that were made in that moment
// would be lost. So one is shared only while another container holds it, and a new one gets a name that was never used.
func (r *Runtime) shimGroup(ctx context.Context, id, uid string) (group string, found bool, err error) {
	siblings, err := r.client.ContainerService().List(ctx, fmt.Sprintf("labels.%q==%q", labelUID, uid))
	if err != nil {
		return "", false, err
	}
	halfMade := ""
	for _, s := range siblings {
		has, err := r.hasTask(ctx, s.ID)
		switch {
		case err != nil:
			return "", false, err
		case s.ID != id && has:
			group = s.Labels[labelGroup]
		case s.ID == id && (has || s.Labels[labelStarted] != ""):
			return "", true, nil
		case s.ID == id:
			if err := r.discard(ctx, id); err != nil {
				return "", false, err
			}
			halfMade = s.Labels[labelGroup]
		}
	}
	switch {
	case group != "":
		return group, false, nil
	case halfMade != "":
		// A shim that had started before the crash, and that no task holds, is taken up again.
		return halfMade, false, nil
	}
	return id + "-" + strconv.FormatInt(time.Now().UnixNano(), 36), false, nil
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
	if err := i.users.load(ctx, mounts); err != nil {
		return err
	}
	spec, err := r.specFor(ctx, id, group, i, config)
	if err != nil {
		return err
	}
	if err := r.record(ctx, id, i, spec, labelsFor(config, group)); err != nil {
		return err
	}
	return r.makeTask(ctx, id, config.LogPath, mounts)
}

// prepare makes the snapshot that a container writes to.
func (r *Runtime) prepare(ctx context.Context, id string, i *image) ([]mount.Mount, error) {
	service := r.client.SnapshotService(r.options.Snapshotter)
	labels := snapshots.WithLabels(map[string]string{labelRoot: time.Now().UTC().Format(time.RFC3339)})
	mounts, err := service.Prepare(ctx, id, i.chainID, labels)
	if errdefs.IsAlreadyExists(err) {
		// A crash came before the container's record was made.
		if err := service.Remove(ctx, id); err != nil && !errdefs.IsNotFound(err) {
			return nil, fmt.Errorf("remove a half-made snapshot: %w", err)
		}
		mounts, err = service.Prepare(ctx, id, i.chainID, labels)
	}
	if errdefs.IsNotFound(err) {
		r.images.drop(i.name)
		return nil, fmt.Errorf("image %s was removed from this machine: it has to be brought here again: %w", i.name, err)
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
func (r *Runtime) makeTask(ctx context.Context, id, logPath string, mounts []mount.Mount) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	log, err := cio.LogURIGenerator("file", logPath, nil)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	request := &tasks.CreateTaskRequest{ContainerID: id, Stdout: log.String(), Stderr: log.String()}
	for _, m := range mounts {
		request.Rootfs = append(request.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), taskTimeout)
	defer cancel()
	if _, err = r.client.TaskService().Create(ctx, request); err != nil {
		return fmt.Errorf("make its task: %w", errgrpc.ToNative(err))
	}
	return nil
}

// taskTimeout bounds the making of a task, which takes well under a second on a machine that is not ill.
const taskTimeout = 2 * time.Minute
