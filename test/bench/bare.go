package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
)

// bareNamespace keeps the base line's containers apart from headway's.
const bareNamespace = "headway-bench-bare"

// itemsFile gives the program something to read that is in every container.
const itemsFile = "ITEMS_FILE=/proc/self/cmdline"

// bare starts containers by containerd alone: no pod, no network, no volume, no probe.
type bare struct {
	client *client.Client
	image  client.Image
	next   atomic.Int64
	// like is the specification that containers are made by; nil is containerd's default for the image.
	like *specs.Spec
}

func newBare(ctx context.Context, address, registry string) (*bare, error) {
	c, err := client.New(address, client.WithDefaultNamespace(bareNamespace))
	if err != nil {
		return nil, err
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))})
	pulled, err := c.Pull(namespaces.WithNamespace(ctx, bareNamespace), registry+"/shop/catalog:1.0",
		client.WithPullUnpack, client.WithResolver(resolver))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &bare{client: c, image: pulled}, nil
}

// start creates and starts containers, so many at a time, and returns how long that took. It removes them again.
func (b *bare) start(ctx context.Context, count, parallel int) (time.Duration, error) {
	ctx = namespaces.WithNamespace(ctx, bareNamespace)
	tasks := make([]client.Task, count)
	containers := make([]client.Container, count)
	group := errgroup.Group{}
	group.SetLimit(parallel)
	begin := time.Now()
	for i := range count {
		group.Go(func() (err error) {
			containers[i], tasks[i], err = b.startOne(ctx)
			return err
		})
	}
	err := group.Wait()
	took := time.Since(begin)
	removal := errgroup.Group{}
	removal.SetLimit(runtime.NumCPU())
	for i := range count {
		removal.Go(func() error { return remove(ctx, containers[i], tasks[i]) })
	}
	return took, errors.Join(err, removal.Wait())
}

// best is how long that takes at the parallelism that suits it best.
func (b *bare) best(ctx context.Context, count int) (time.Duration, error) {
	var all []time.Duration
	for _, parallel := range []int{2, 4, 8} {
		took, err := b.start(ctx, count, parallel)
		if err != nil {
			return 0, err
		}
		all = append(all, took)
	}
	return slices.Min(all), nil
}

func (b *bare) startOne(ctx context.Context) (client.Container, client.Task, error) {
	id := fmt.Sprintf("bare-%d", b.next.Add(1))
	// At the top, so that no parent stays when the container is gone.
	cgroup := oci.WithCgroup("/" + bareNamespace + "-" + id)
	spec := client.WithNewSpec(oci.WithImageConfig(b.image), oci.WithProcessArgs("/bin/catalog"), oci.WithEnv([]string{itemsFile}), cgroup)
	if b.like != nil {
		own, linux := *b.like, *b.like.Linux
		own.Linux = &linux
		spec = client.WithSpec(&own, cgroup)
	}
	container, err := b.client.NewContainer(ctx, id, client.WithNewSnapshot(id, b.image), spec)
	if err != nil {
		return nil, nil, err
	}
	task, err := container.NewTask(ctx, cio.NullIO)
	if err != nil {
		return container, nil, err
	}
	return container, task, task.Start(ctx)
}

func remove(ctx context.Context, container client.Container, task client.Task) error {
	if task != nil {
		exited, err := task.Wait(ctx)
		if err != nil {
			return err
		}
		if err := task.Kill(ctx, syscall.SIGKILL); err != nil {
			return err
		}
		<-exited
		if _, err := task.Delete(ctx); err != nil {
			return err
		}
	}
	if container == nil {
		return nil
	}
	return container.Delete(ctx, client.WithSnapshotCleanup)
}

// close removes the image and the namespace, and leaves containerd as it was.
func (b *bare) close(ctx context.Context) error {
	ctx = namespaces.WithNamespace(ctx, bareNamespace)
	errs := []error{b.client.ImageService().Delete(ctx, b.image.Name())}
	errs = append(errs, removeNamespace(ctx, b.client))
	return errors.Join(append(errs, b.client.Close())...)
}

// removeNamespace waits until containerd has collected what the image left.
func removeNamespace(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := c.NamespaceService().Delete(ctx, bareNamespace)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
