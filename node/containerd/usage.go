package containerd

import (
	"context"
	"fmt"

	"headway.dev/headway/node"
)

var _ node.StorageMeter = (*Runtime)(nil)

// ContainerUsage gives the bytes on disk of what a container has written over its image. Of one that is gone it is nothing.
func (r *Runtime) ContainerUsage(ctx context.Context, id string) (int64, error) {
	usage, err := r.client.SnapshotService(r.options.Snapshotter).Usage(r.scope(ctx), id)
	if err = ignoreNotFound(err); err != nil {
		return 0, fmt.Errorf("measure container %s: %w", id, err)
	}
	return usage.Size, nil
}
