package containerd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"reflect"
	"sync"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/node"
)

// ends collects what Watch says.
type ends struct {
	mu   sync.Mutex
	seen map[string]int
}

func (e *ends) add(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen[id]++
}

func (e *ends) count(id string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[id]
}

// watch watches until the test ends.
func (h *host) watch() *ends {
	h.t.Helper()
	e := &ends{seen: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.Watch(ctx, e.add) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			h.t.Errorf("Watch ended with %v", err)
		}
	})
	return e
}

// TestWatchSaysFirstWhenItListens relies on that alone: from then on it must miss no end, and tell of no command's.
func TestWatchSaysFirstWhenItListens(t *testing.T) {
	h := newHost(t)
	id := h.run(h.config(sandbox(t, "pod"), "a"))
	e := h.watch()
	h.until("Watch listens", func() bool { return e.count("") == 1 })
	h.works(id)
	if err := h.Signal(h.context(), id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.until("Watch tells of the end", func() bool { return e.count(id) > 0 })
	if e.count(id) != 1 || e.count("") != 1 {
		t.Errorf("it told of %v", e.seen)
	}
}

// TestContainerdRestarts kills containerd under running containers: they run on, their logs are written on, and all is
// there when it is back.
func TestContainerdRestarts(t *testing.T) {
	testenv.RequireRoot(t)
	p, err := testenv.StartPrivate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	h := newHost(t, func(o *Options) { o.Address = p.Address() })
	s := sandbox(t, "pod")
	config := h.script(s, "a", "trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.02; done")
	ends := h.script(s, "b", "trap 'exit 3' TERM; while :; do sleep 0.02; done")
	id, ended := h.run(config), h.run(ends)
	e := h.watch()
	h.until("Watch listens", func() bool { return e.count("") == 1 })
	before, _ := h.find(id)
	victim, _ := h.find(ended)

	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Containers(h.context()); err == nil {
		t.Error("without containerd there are containers")
	}
	if err := syscall.Kill(victim.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.until("Watch listens again", func() bool { return e.count("") == 2 })
	if after, _ := h.find(id); !reflect.DeepEqual(after, before) {
		t.Errorf("containerd restarted under %+v, now %+v", before, after)
	}
	if c := h.exited(ended); c.ExitCode != 3 {
		t.Errorf("what ended meanwhile: %+v", c)
	}
	if _, err := h.Ensure(h.context(), h.image, corev1.PullNever); err != nil {
		t.Error(err)
	}
	h.works(id)
	ends.Attempt = 1
	h.works(h.run(ends)) // in the old shim
	if n := len(h.shims()); n != 1 {
		t.Errorf("the pod has %d shims", n)
	}
	if err := h.Signal(h.context(), id, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.until("Watch tells of the end", func() bool { return e.count(id) == 1 })
	if c, _ := h.find(id); c.State != node.ContainerExited || c.ExitCode != 7 {
		t.Errorf("after it was told to end: %+v", c)
	}
	h.until("the log has both lines", func() bool {
		data, _ := os.ReadFile(config.LogPath)
		return bytes.Equal(data, []byte("ready\ntold\n"))
	})
}
