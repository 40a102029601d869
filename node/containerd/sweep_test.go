package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	shimtask "github.com/containerd/containerd/api/runtime/task/v2"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"headway.dev/headway/node"
)

// keepSweeping has a runtime do what it does as long as its daemon runs.
func keepSweeping(r *Runtime) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) }) // until it is ended
	return func() {
		cancel()
		running.Wait()
	}
}

// TestLateRequests has containerd carry out what a killed daemon had asked for when the next one has looked already: all of
// it goes. What is whole stays.
func TestLateRequests(t *testing.T) {
	h := newHost(t, func(o *Options) { o.SealedDir = inMemory(t) })
	s := sandbox(t, "pod")
	stays := h.run(h.config(s, "stays"))
	created, err := h.Create(h.context(), h.config(s, "created"))
	if err != nil {
		t.Fatal(err)
	}
	shims := len(h.shims())
	defer keepSweeping(h.Runtime)()
	image, ctx := h.images.get(h.image), h.scope(h.context())
	other := h.config(sandbox(t, "pod-2"), "late")
	late := func(what string, do func(id string) error, left func(id string) bool) {
		t.Helper()
		id := newContainerID("pod-2", "late", 0)
		if err := do(id); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		h.until(what+" goes", func() bool { return !left(id) })
		if n := h.activeSnapshots(); n != 2 {
			t.Errorf("%s: there are %d snapshots, want 2", what, n)
		}
	}
	hasRecord := func(id string) bool {
		_, err := h.client.ContainerService().Get(ctx, id)
		return !errdefs.IsNotFound(err)
	}
	late("a snapshot", func(id string) error {
		_, err := h.prepare(ctx, id, image)
		return err
	}, func(string) bool { return h.activeSnapshots() > 2 })
	late("secrets", func(id string) error {
		return h.sealed.seal(id, &specs.Spec{Process: &specs.Process{}, Root: &specs.Root{}})
	}, func(string) bool { kept, err := h.sealed.kept(); return err != nil || len(kept) > 0 })
	late("a record", func(id string) error {
		return h.record(ctx, id, image, &specs.Spec{}, labelsFor(other, id))
	}, hasRecord)
	late("a lease", func(string) error {
		_, err := h.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithLabel(labelLease, "another"))
		return err
	}, func(string) bool { all, err := h.client.LeasesService().List(ctx); return err != nil || len(all) > 0 })
	late("a task without a record", func(id string) error {
		// While it is made, it is this daemon's own.
		defer h.busy.begin(id)()
		if err := h.make(ctx, id, id, image, other); err != nil {
			return err
		}
		return h.client.ContainerService().Delete(ctx, id)
	}, func(id string) bool { return len(h.shims()) > shims || hasRecord(id) || h.hasTaskOf(id) })
	h.works(stays)
	if err := h.Start(h.context(), created); err != nil {
		t.Error(err)
	}
	h.works(created)
}

func (h *host) hasTaskOf(id string) bool {
	list, err := h.client.TaskService().List(h.scope(h.context()), &tasks.ListTasksRequest{})
	return err != nil || slices.ContainsFunc(list.Tasks, func(t *task.Process) bool { return t.ID == id })
}

// TestSweepsLeaveOwnWork sweeps all the time while containers are made, started and removed.
func TestSweepsLeaveOwnWork(t *testing.T) {
	h := newHost(t, func(o *Options) { o.SealedDir = inMemory(t) })
	ctx, cancel := context.WithCancel(h.scope(h.context()))
	var group errgroup.Group
	group.Go(func() error {
		for ctx.Err() == nil {
			if err := h.sweep(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	var work errgroup.Group
	for p := range 3 {
		s := sandbox(t, fmt.Sprintf("pod-%d", p))
		work.Go(func() error {
			for i := range 6 {
				config := h.config(s, "a")
				config.Attempt, config.Confidential = i, p == 0
				id, err := h.Create(h.context(), config)
				if err == nil {
					err = h.Start(h.context(), id)
				}
				if err != nil {
					return err
				}
				h.works(id)
				if err := h.Remove(h.context(), id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := work.Wait()
	cancel()
	if err := errors.Join(err, group.Wait()); err != nil {
		t.Error(err)
	}
}

// TestUnnotedStart kills a daemon just after it has started a container, before that is noted: it has started all the same,
// also when its shim is lost.
func TestUnnotedStart(t *testing.T) {
	h := newHost(t)
	id, err := h.Create(h.context(), h.config(sandbox(t, "pod"), "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.startTask(h.scope(h.context()), id); err != nil {
		t.Fatal(err)
	}
	before, _ := h.find(id)
	if before.State != node.ContainerRunning || time.Since(before.Started) > patience {
		t.Errorf("it is %+v", before)
	}
	if err := h.sweep(h.scope(h.context())); err != nil {
		t.Fatal(err)
	}
	if after, _ := h.find(id); !reflect.DeepEqual(after, before) {
		t.Errorf("it changed from %+v to %+v", before, after)
	}
	if err := unix.Kill(h.shims()[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if c := h.exited(id); !c.Started.Equal(before.Started) {
		t.Errorf("its shim was killed: %+v", c)
	}
}

// TestForgottenShim leaves a shim behind of which containerd knows nothing, as a crash in the wrong moment does: one that
// answers, one that does not, and one with a task.
func TestForgottenShim(t *testing.T) {
	h := newHost(t)
	s := sandbox(t, "pod")
	id := h.run(h.config(s, "a"))
	for _, c := range []struct {
		name           string
		answers, tasks bool
	}{{"answers", true, false}, {"is silent", false, false}, {"has a task", true, true}} {
		lost := newContainerID(s.UID, "lost", 0)
		if c.tasks {
			h.startTaskOf(lost, h.config(s, "lost"), h.startShim(lost, c.answers))
		} else {
			h.startShim(lost, c.answers)
		}
		if n := len(h.shims()); n != 2 {
			t.Fatalf("%s: %d shims, want 2", c.name, n)
		}
		if err := h.sweep(h.scope(h.context())); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		h.until("the shim ends that "+c.name, func() bool { return len(h.shims()) == 1 })
		h.works(id)
	}
}

// startShim starts a shim as containerd does, but so that containerd knows nothing of it, and gives its directory. One
// without a reader of its log waits for that, and answers nobody.
func (h *host) startShim(id string, answers bool) (bundle string) {
	h.t.Helper()
	bundle = h.t.TempDir()
	h.bundle(bundle, &specs.Spec{Annotations: map[string]string{groupAnnotation: id}})
	if err := unix.Mkfifo(filepath.Join(bundle, "log"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if answers {
		log, err := os.OpenFile(filepath.Join(bundle, "log"), os.O_RDWR, 0)
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { log.Close() })
	}
	cmd := exec.Command("containerd-shim-runc-v2", "-namespace", h.options.Namespace, "-address", h.options.Address, "-id", id, "start")
	cmd.Dir = bundle
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	return bundle
}

func (h *host) bundle(dir string, spec *specs.Spec) {
	h.t.Helper()
	content, err := json.Marshal(spec)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), content, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// startTaskOf has a shim make the task of a container, without containerd.
func (h *host) startTaskOf(id string, config node.ContainerConfig, bundle string) {
	h.t.Helper()
	ctx, image := h.scope(h.context()), h.images.get(h.image)
	mounts, err := h.prepare(ctx, id, image)
	if err != nil {
		h.t.Fatal(err)
	}
	spec, err := h.specFor(ctx, id, id, image, config)
	if err != nil {
		h.t.Fatal(err)
	}
	spec.Root.Path = "rootfs"
	h.bundle(bundle, spec)
	if err := os.Mkdir(filepath.Join(bundle, "rootfs"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	request := &shimtask.CreateTaskRequest{ID: id, Bundle: bundle}
	for _, m := range mounts {
		request.Rootfs = append(request.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	conn, err := net.Dial("unix", h.shimSocket(id))
	if err != nil {
		h.t.Fatal(err)
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	if _, err := shimtask.NewTTRPCTaskClient(client).Create(ctx, request); err != nil {
		h.t.Fatal(err)
	}
}
