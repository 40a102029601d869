package containerd

import (
	"context"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// freeze pauses a task, as ctr does.
func (h *host) freeze(ctx context.Context, id string) error {
	_, err := h.client.TaskService().Pause(h.scope(ctx), &tasks.PauseTaskRequest{ContainerID: id})
	return errgrpc.ToNative(err)
}

// limit bounds the memory of a task, as ctr does.
func (h *host) limit(ctx context.Context, id string, memory int64) error {
	resources, err := typeurl.MarshalAnyToProto(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory, Swap: &memory}})
	if err != nil {
		return err
	}
	_, err = h.client.TaskService().Update(h.scope(ctx), &tasks.UpdateTaskRequest{ContainerID: id, Resources: resources})
	return errgrpc.ToNative(err)
}
