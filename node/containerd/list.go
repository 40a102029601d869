package containerd

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"headway.dev/headway/node"
)

// lostExitCode is what a container counts as having ended with when its task is gone, as after a restart of the machine.
const lostExitCode = 255

// Containers lists every container that headway made in the namespace, ordered by ID.
func (r *Runtime) Containers(ctx context.Context) ([]node.Container, error) {
	all, err := r.list(r.scope(ctx))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return all, nil
}

// ContainersOf lists those of one pod, ordered by ID. Only their own shims are asked.
func (r *Runtime) ContainersOf(ctx context.Context, pod string) ([]node.Container, error) {
	all, err := r.listPod(r.scope(ctx), pod)
	if err != nil {
		return nil, fmt.Errorf("list the containers of pod %s: %w", pod, err)
	}
	return all, nil
}

func (r *Runtime) listPod(ctx context.Context, pod string) ([]node.Container, error) {
	records, err := r.recordsOf(ctx, pod)
	if err != nil {
		return nil, err
	}
	return r.observeAll(ctx, records, nil)
}

func (r *Runtime) list(ctx context.Context) ([]node.Container, error) {
	records, err := r.records(ctx)
	if err != nil {
		return nil, err
	}
	list, err := r.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, errgrpc.ToNative(err)
	}
	running := make(map[string]*task.Process, len(list.Tasks))
	for _, t := range list.Tasks {
		running[t.ID] = t
	}
	return r.observeAll(ctx, records, running)
}

// observeAll joins records with their tasks, as far as these are known.
func (r *Runtime) observeAll(ctx context.Context, records []containers.Container, running map[string]*task.Process) ([]node.Container, error) {
	all := make([]node.Container, 0, len(records))
	for _, record := range records {
		c, found, err := r.observe(ctx, record, running[record.ID])
		if err != nil {
			return nil, err
		}
		if found {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b node.Container) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// observe joins a record with its task. It reports false for a container that is only half made, or was removed meanwhile.
func (r *Runtime) observe(ctx context.Context, record containers.Container, t *task.Process) (c node.Container, found bool, err error) {
	if c, err = describe(record.ID, record.Labels); err != nil {
		return c, false, err
	}
	if t == nil {
		// It was left out of the list: it is lost, or was made, started or removed after that. Taken for ended it would be
		// replaced, so this is looked at again.
		if t, err = r.task(ctx, record.ID); err != nil {
			return c, false, err
		}
	}
	if t != nil {
		r.apply(&c, t)
		if c.State != node.ContainerCreated && c.Started.IsZero() {
			// The daemon that started it was killed before it had written when.
			c.Started = record.CreatedAt
		}
		return c, true, nil
	}
	if c.Started.IsZero() {
		return c, false, nil
	}
	if _, err := r.client.ContainerService().Get(ctx, record.ID); err != nil {
		return c, false, ignoreNotFound(err)
	}
	c.State, c.ExitCode, c.Finished, c.Lost = node.ContainerExited, lostExitCode, record.UpdatedAt, true
	return c, true, nil
}

func (r *Runtime) task(ctx context.Context, id string) (*task.Process, error) {
	got, err := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return got.Process, nil
}

// apply sets what a task says of its container.
func (r *Runtime) apply(c *node.Container, t *task.Process) {
	switch t.Status {
	case task.Status_RUNNING, task.Status_PAUSED, task.Status_PAUSING:
		c.State, c.PID = node.ContainerRunning, int(t.Pid)
	case task.Status_STOPPED:
		c.State, c.ExitCode, c.Finished = node.ContainerExited, int(t.ExitStatus), t.ExitedAt.AsTime()
		c.OOM = c.ExitCode != 0 && oomKilled(r.cgroup(c.ID))
	case task.Status_CREATED:
		c.State = node.ContainerCreated
	default:
		// Its shim did not answer in time: it counts as what it was last.
		if !c.Started.IsZero() {
			c.State = node.ContainerRunning
		}
	}
}
