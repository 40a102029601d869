package containerd

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"golang.org/x/sys/unix"

	"headway.dev/headway/node"
)

// TestOneShimPerPod counts shims while containers of a pod come and go, the first one too.
func TestOneShimPerPod(t *testing.T) {
	h := newHost(t)
	s := sandbox(t, "pod")
	configs := []node.ContainerConfig{h.config(s, "a"), h.config(s, "b"), h.config(s, "c")}
	ids := make([]string, len(configs))
	for i, c := range configs {
		ids[i] = h.run(c)
	}
	shims := h.shims()
	if len(shims) != 1 {
		t.Fatalf("a pod of three containers has the shims %v", shims)
	}
	other := h.run(h.config(sandbox(t, "pod-2"), "a"))
	if n := len(h.shims()); n != 2 {
		t.Errorf("two pods have %d shims", n)
	}
	if err := h.Remove(h.context(), other); err != nil {
		t.Fatal(err)
	}
	// Each in turn is replaced, and the shim stays the same, even when the container that it was started for is gone.
	for i, c := range configs {
		if err := h.Signal(h.context(), ids[i], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.exited(ids[i])
		c.Attempt = 1
		next := h.run(c)
		if err := h.Remove(h.context(), ids[i]); err != nil {
			t.Fatal(err)
		}
		ids[i] = next
		for _, id := range ids {
			h.works(id)
		}
	}
	h.until("only the first shim is left", func() bool { left := h.shims(); return len(left) == 1 && left[0] == shims[0] })
	for _, id := range ids {
		if err := h.Remove(h.context(), id); err != nil {
			t.Fatal(err)
		}
	}
	h.until("the shim ends with the pod", func() bool { return len(h.shims()) == 0 })
}

// works runs a command in a container.
func (h *host) works(id string) {
	h.t.Helper()
	var out bytes.Buffer
	code, err := h.Exec(h.context(), id, []string{"echo", "here"}, node.Streams{Stdout: &out})
	if err != nil || code != 0 || out.String() != "here\n" {
		h.t.Errorf("exit code %d, output %q, error %v", code, &out, err)
	}
}

// TestShimThatEnds makes a pod's only container again and again, just when its shim ends with the last one.
func TestShimThatEnds(t *testing.T) {
	h := newHost(t)
	config := h.config(sandbox(t, "pod"), "a")
	for range 15 {
		id := h.run(config)
		if err := h.Remove(h.context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPodAtOnce makes, starts and removes all containers of some pods at the same time.
func TestPodAtOnce(t *testing.T) {
	h := newHost(t)
	const pods, containers = 3, 3
	var all sync.WaitGroup
	for p := range pods {
		s := sandbox(t, fmt.Sprintf("pod-%d", p))
		for c := range containers {
			all.Go(func() {
				config := h.config(s, fmt.Sprintf("c%d", c))
				for config.Attempt = range 2 {
					id, err := h.Create(h.context(), config)
					if err == nil {
						err = h.Start(h.context(), id)
					}
					if err == nil && config.Attempt == 0 {
						err = h.Remove(h.context(), id)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	running, err := h.Containers(h.context())
	if err != nil || len(running) != pods*containers {
		t.Errorf("%d containers, error %v", len(running), err)
	}
	h.until("every pod has one shim", func() bool { return len(h.shims()) == pods })
}

// TestLostShim kills a shim: its containers count as ended, and the pod gets others.
func TestLostShim(t *testing.T) {
	h := newHost(t)
	s := sandbox(t, "pod")
	config := h.config(s, "a")
	created := h.config(s, "never-started")
	id := h.run(config)
	waiting, err := h.Create(h.context(), created)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(h.shims()[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if c := h.exited(id); c.ExitCode == 0 || c.PID != 0 || c.Finished.Before(c.Started) {
		t.Errorf("its shim was killed: %+v", c)
	}
	if err := h.Start(h.context(), id); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("started again: %v", err)
	}
	// One that never started counts as never made, and is made again.
	if c, found := h.find(waiting); found {
		t.Errorf("one that had not started: %+v", c)
	}
	again := h.run(created)
	h.works(again)
	config.Attempt = 1
	h.works(h.run(config))
	for _, old := range []string{id, waiting, again} {
		if err := h.Remove(h.context(), old); err != nil {
			t.Error(err)
		}
	}
}

// TestStartTwice relies on what a daemon does that is not sure whether it had started a container.
func TestStartTwice(t *testing.T) {
	h := newHost(t)
	id := h.run(h.config(sandbox(t, "pod"), "a"))
	before, _ := h.find(id)
	if err := h.Start(h.context(), id); err != nil {
		t.Error(err)
	}
	if after, _ := h.find(id); !reflect.DeepEqual(after, before) {
		t.Errorf("it changed from %+v to %+v", before, after)
	}
	if err := h.Signal(h.context(), id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.exited(id)
	if err := h.Start(h.context(), id); err == nil || !strings.Contains(err.Error(), "exit code 137") {
		t.Errorf("started after its end: %v", err)
	}
	if err := h.Start(h.context(), "no-such-container"); err == nil {
		t.Error("one that is not there was started")
	}
}

// activeSnapshots counts the snapshots of containers.
func (h *host) activeSnapshots() int {
	h.t.Helper()
	n := 0
	err := h.client.SnapshotService(h.options.Snapshotter).Walk(h.scope(h.context()), func(_ context.Context, info snapshots.Info) error {
		if info.Kind == snapshots.KindActive {
			n++
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}
