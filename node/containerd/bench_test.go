package containerd

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
)

// BenchmarkCreateStart compares a container's creation and start with those by containerd's client alone, with its
// default specification and no pod around. Both take turns, so that what else the machine does falls on both.
func BenchmarkCreateStart(b *testing.B) {
	for _, parallel := range []int{1, 4} {
		b.Run(fmt.Sprintf("parallel-%d", parallel), func(b *testing.B) { compare(b, parallel) })
	}
}

func compare(b *testing.B, parallel int) {
	h := newHost(b)
	bare := newBare(b, h)
	s := make([]func(*host, int), 2)
	var ours, theirs samples
	s[0] = func(h *host, n int) {
		uid := fmt.Sprintf("pod-%d", n)
		config := h.config(sandbox(b, uid), "main")
		begun := time.Now()
		id := h.run(config)
		ours.add(time.Since(begun))
		if err := h.Remove(h.context(), id); err != nil {
			b.Error(err)
		}
	}
	s[1] = func(_ *host, n int) {
		begun := time.Now()
		task := bare.run(fmt.Sprintf("bare-%d", n))
		theirs.add(time.Since(begun))
		bare.remove(task)
	}
	var next atomic.Int64
	for b.Loop() {
		// A round of each: the machine is as busy with one as with the other.
		for _, one := range s {
			var round sync.WaitGroup
			for range parallel {
				round.Go(func() { one(h, int(next.Add(1))) })
			}
			round.Wait()
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours.quantile(0.5), "ours-p50-ms")
	b.ReportMetric(ours.quantile(0.99), "ours-p99-ms")
	b.ReportMetric(theirs.quantile(0.5), "bare-p50-ms")
	b.ReportMetric(theirs.quantile(0.99), "bare-p99-ms")
	b.ReportMetric(ours.quantile(0.5)/theirs.quantile(0.5), "ratio-p50")
}

// samples are durations that several goroutines measure.
type samples struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// quantile is in milliseconds.
func (s *samples) quantile(q float64) float64 {
	slices.Sort(s.all)
	return float64(s.all[int(q*float64(len(s.all)-1))]) / float64(time.Millisecond)
}

// bare runs containers by containerd's client as its documentation shows it.
type bare struct {
	b      *testing.B
	ctx    context.Context
	client *client.Client
	image  client.Image
}

func newBare(b *testing.B, h *host) *bare {
	ctx := h.scope(context.Background())
	i, err := h.client.GetImage(ctx, h.image)
	if err != nil {
		b.Fatal(err)
	}
	return &bare{b: b, ctx: ctx, client: h.client, image: i}
}

func (r *bare) run(id string) client.Task {
	c, err := r.client.NewContainer(r.ctx, id, client.WithNewSnapshot(id, r.image), client.WithNewSpec(oci.WithImageConfig(r.image)))
	if err != nil {
		r.b.Fatal(err)
	}
	task, err := c.NewTask(r.ctx, cio.NullIO)
	if err != nil {
		r.b.Fatal(err)
	}
	if err := task.Start(r.ctx); err != nil {
		r.b.Fatal(err)
	}
	return task
}

func (r *bare) remove(task client.Task) {
	if _, err := task.Delete(r.ctx, client.WithProcessKill); err != nil {
		r.b.Fatal(err)
	}
	c, err := r.client.LoadContainer(r.ctx, task.ID())
	if err != nil {
		r.b.Fatal(err)
	}
	if err := c.Delete(r.ctx, client.WithSnapshotCleanup); err != nil {
		r.b.Fatal(err)
	}
}

// BenchmarkEnsurePresent is what an image costs that is there.
func BenchmarkEnsurePresent(b *testing.B) {
	h := newHost(b)
	for b.Loop() {
		if _, err := h.Ensure(b.Context(), h.image, corev1.PullIfNotPresent); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExec is what a probe by a command costs.
func BenchmarkExec(b *testing.B) {
	h := newHost(b)
	id := h.run(h.config(sandbox(b, "pod"), "main"))
	for b.Loop() {
		if code, err := h.Exec(b.Context(), id, []string{"true"}, node.Streams{}); err != nil || code != 0 {
			b.Fatal(code, err)
		}
	}
}

// BenchmarkContainers lists a pod of ten containers.
func BenchmarkContainers(b *testing.B) {
	h := newHost(b)
	s := sandbox(b, "pod")
	for i := range 10 {
		h.run(h.config(s, fmt.Sprintf("c%d", i)))
	}
	for b.Loop() {
		if _, err := h.Containers(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
