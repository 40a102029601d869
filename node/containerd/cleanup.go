package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sync/errgroup"
)

// Cleanup removes everything in the runtime's containerd namespace, and the namespace: containers, whoever made them,
// images, leases, snapshots. The control groups go too.
func (r *Runtime) Cleanup(ctx context.Context) error {
	ctx = r.scope(ctx)
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"containers", r.removeContainers},
		{"half-made containers", r.settle},
		{"leases", r.removeLeases},
		{"images", r.removeImages},
		{"snapshots", r.removeSnapshots},
		{"downloads", r.abortDownloads},
		{"namespace", r.removeNamespace},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("clean up %s of containerd namespace %s: %w", step.what, r.options.Namespace, err)
		}
	}
	return removeCgroups(ctx, r.options.CgroupRoot)
}

func (r *Runtime) removeContainers(ctx context.Context) error {
	ids := map[string]bool{}
	records, err := r.client.ContainerService().List(ctx)
	if err != nil {
		return err
	}
	for _, record := range records {
		ids[record.ID] = true
	}
	list, err := r.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return errgrpc.ToNative(err)
	}
	for _, t := range list.Tasks {
		ids[t.ID] = true
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * goruntime.NumCPU())
	for id := range ids {
		group.Go(func() error { return r.remove(ctx, id) })
	}
	return group.Wait()
}

func (r *Runtime) removeLeases(ctx context.Context) error {
	service := r.client.LeasesService()
	all, err := service.List(ctx)
	if err != nil {
		return err
	}
	for _, l := range all {
		if err := service.Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// removeImages removes the images, and waits until containerd has collected what belonged to them.
func (r *Runtime) removeImages(ctx context.Context) error {
	service := r.client.ImageService()
	all, err := service.List(ctx)
	if err != nil {
		return err
	}
	for _, i := range all {
		if err := service.Delete(ctx, i.Name); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		r.images.drop(i.Name)
	}
	return r.collect(ctx)
}

// removeSnapshots removes what the collection has left, leaves before what they stand on.
func (r *Runtime) removeSnapshots(ctx context.Context) error {
	service := r.client.SnapshotService(r.options.Snapshotter)
	for {
		standing := map[string]bool{}
		var all []string
		err := service.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
			all = append(all, info.Name)
			standing[info.Parent] = true
			return nil
		})
		if err != nil || len(all) == 0 {
			return ignoreNotFound(err)
		}
		for _, name := range all {
			if standing[name] {
				continue
			}
			if err := service.Remove(ctx, name); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
	}
}

func (r *Runtime) abortDownloads(ctx context.Context) error {
	store := r.client.ContentStore()
	all, err := store.ListStatuses(ctx)
	if err != nil {
		return ignoreNotFound(err)
	}
	var errs []error
	for _, s := range all {
		errs = append(errs, ignoreNotFound(store.Abort(ctx, s.Ref)))
	}
	return errors.Join(errs...)
}

// removeNamespace removes the namespace, and the empty directory that containerd's runtime keeps for it.
func (r *Runtime) removeNamespace(ctx context.Context) error {
	if err := ignoreNotFound(r.client.NamespaceService().Delete(ctx, r.options.Namespace)); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(defaults.DefaultStateDir, "runc", r.options.Namespace))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
