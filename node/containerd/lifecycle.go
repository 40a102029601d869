package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/moby/sys/signal"
	"golang.org/x/sync/errgroup"

	"headway.dev/headway/node"
)

// Start starts a container that was made. One that runs is success; one that has ended is an error.
func (r *Runtime) Start(ctx context.Context, id string) error {
	if err := r.start(r.scope(ctx), id); err != nil {
		return fmt.Errorf("start container %s: %w", id, err)
	}
	return nil
}

func (r *Runtime) start(ctx context.Context, id string) error {
	record, err := r.client.ContainerService().Get(ctx, id)
	if err != nil {
		return err
	}
	if record.Labels[labelStarted] != "" {
		return r.startTask(ctx, id)
	}
	defer r.busy.begin(id)()
	// That it was started is written while it starts, which hides what writing costs. What counts is the task; the label
	// is for when that is lost.
	begun := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.markStarted(groupCtx, id, begun) })
	group.Go(func() error { return r.startTask(groupCtx, id) })
	return group.Wait()
}

func (r *Runtime) markStarted(ctx context.Context, id string, when time.Time) error {
	record := containers.Container{ID: id, Labels: map[string]string{labelStarted: when.UTC().Format(time.RFC3339Nano)}}
	_, err := r.client.ContainerService().Update(ctx, record, "labels."+labelStarted)
	return err
}

func (r *Runtime) startTask(ctx context.Context, id string) error {
	_, startErr := r.client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: id})
	if startErr == nil {
		return nil
	}
	startErr = blame(inWords(errgrpc.ToNative(startErr)))
	t, err := r.task(ctx, id)
	switch {
	case err != nil:
		return errors.Join(startErr, err)
	case t == nil:
		return fmt.Errorf("its task is lost: %w", startErr)
	case t.Status == task.Status_RUNNING:
		return nil
	case t.Status == task.Status_STOPPED:
		return fmt.Errorf("it has ended, with exit code %d: %w", t.ExitStatus, startErr)
	}
	return startErr
}

// blame tells an error of the OCI runtime, which tried to make the container's process, from one of containerd: the first
// is the container's own fault. Shims say so only in words.
func blame(err error) error {
	if strings.Contains(err.Error(), "OCI runtime create failed") || strings.Contains(err.Error(), "OCI runtime start failed") {
		return &node.StartError{Err: err}
	}
	return err
}

// Stop asks a container's first process to end, by its image's signal. One that is gone or has ended is success.
func (r *Runtime) Stop(ctx context.Context, id string) error {
	record, err := r.client.ContainerService().Get(r.scope(ctx), id)
	if errdefs.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("stop container %s: %w", id, err)
	}
	by := syscall.SIGTERM
	if name := record.Labels[client.StopSignalLabel]; name != "" {
		if by, err = parseSignal(name); err != nil {
			return fmt.Errorf("stop container %s: label %s: %w", id, client.StopSignalLabel, err)
		}
	}
	return r.Signal(ctx, id, by)
}

// maxSignal is the highest that Linux has.
const maxSignal = 64

// parseSignal reads a signal's name or number, as images have it.
func parseSignal(name string) (syscall.Signal, error) {
	s, err := signal.ParseSignal(name)
	if err == nil && (s < 1 || s > maxSignal) {
		err = fmt.Errorf("invalid signal: %d", s)
	}
	return s, err
}

// Signal sends a signal to a container's first process. One that is gone or has ended is success.
func (r *Runtime) Signal(ctx context.Context, id string, s syscall.Signal) error {
	_, err := r.client.TaskService().Kill(r.scope(ctx), &tasks.KillRequest{ContainerID: id, Signal: uint32(s)})
	if err = errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("send %v to container %s: %w", s, id, err)
	}
	return nil
}

// Remove kills what still runs of a container and deletes it with its snapshot. One that is gone is success.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	r.bounds.forget(id)
	if err := r.remove(r.scope(ctx), id); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	return nil
}

func (r *Runtime) remove(ctx context.Context, id string) error {
	record, err := r.client.ContainerService().Get(ctx, id)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if uid := record.Labels[labelUID]; uid != "" {
		unlock, err := r.pods.take(ctx, uid)
		if err != nil {
			return err
		}
		defer unlock()
	}
	if record.ID != "" && record.Labels[labelStarted] == "" {
		return r.discardUnstarted(ctx, record)
	}
	return r.discard(ctx, id)
}

// discardUnstarted deletes a container that never ran. What may still become of one that is only half made, later sweeps
// find.
func (r *Runtime) discardUnstarted(ctx context.Context, record containers.Container) error {
	has, err := r.hasTask(ctx, record.ID)
	if err != nil {
		return err
	}
	if !has {
		r.sweeps.foundSome()
	}
	return r.discard(ctx, record.ID)
}

// discard deletes whatever there is of a container. The record goes last: until then the container can be found, and
// removed again.
func (r *Runtime) discard(ctx context.Context, id string) error {
	if err := r.deleteTask(ctx, id); err != nil {
		return fmt.Errorf("delete its task: %w", err)
	}
	if err := r.sealed.forget(id); err != nil {
		return err
	}
	if err := r.client.SnapshotService(r.options.Snapshotter).Remove(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove its snapshot: %w", err)
	}
	if err := r.client.ContainerService().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete its record: %w", err)
	}
	r.roster.drop(id)
	return nil
}

// deleteTask deletes a task, and kills it first if need be.
func (r *Runtime) deleteTask(ctx context.Context, id string) error {
	service := r.client.TaskService()
	remove := func() error {
		_, err := service.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
		return ignoreNotFound(errgrpc.ToNative(err))
	}
	if remove() == nil {
		return nil
	}
	// It runs, which the shim of 1.6 says only in words.
	_, err := service.Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(syscall.SIGKILL)})
	if err = ignoreNotFound(errgrpc.ToNative(err)); err != nil {
		return err
	}
	_, err = service.Wait(ctx, &tasks.WaitRequest{ContainerID: id})
	if err = ignoreNotFound(errgrpc.ToNative(err)); err != nil {
		return err
	}
	return remove()
}
