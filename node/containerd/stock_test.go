package containerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/internal/testimage"
	"headway.dev/headway/node"
)

// dropImage removes an image as a person does, and what only it stands on.
func (h *host) dropImage(t testing.TB, image string) {
	t.Helper()
	if err := h.client.ImageService().Delete(h.scope(h.context()), image, images.SynchronousDelete()); err != nil {
		t.Fatal(err)
	}
}

// addImage imports one more image, which runs, and keeps its archive.
func (h *host) addImage(t testing.TB, config v1.Config) string {
	t.Helper()
	entries, err := os.ReadDir(h.options.ImageDir)
	if err != nil {
		t.Fatal(err)
	}
	n := len(entries)
	files, err := testimage.BusyboxFiles()
	if err != nil {
		t.Fatal(err)
	}
	files["etc/number"] = testimage.Text(fmt.Sprint(n))
	image, err := testimage.FromFiles(config, files)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("headway.test/more:%d", n)
	if err := testimage.WriteArchive(filepath.Join(h.options.ImageDir, fmt.Sprintf("more-%d.tar", n)), name, image); err != nil {
		t.Fatal(err)
	}
	h.ensure(name, corev1.PullIfNotPresent)
	return name
}

// stock gives what there is by name.
func (h *host) stock(r *Runtime, named ...string) map[string]node.StoredImage {
	h.t.Helper()
	all, err := r.TakeStock(h.context(), named)
	if err != nil {
		h.t.Fatal(err)
	}
	byName := map[string]node.StoredImage{}
	for _, i := range all {
		for _, name := range i.Names {
			byName[name] = i
		}
	}
	return byName
}

func (h *host) discard(i node.StoredImage) bool {
	h.t.Helper()
	gone, err := h.Discard(h.context(), []node.StoredImage{i})
	if err != nil {
		h.t.Fatal(err)
	}
	return slices.Equal(gone, []string{i.Digest})
}

// TestStock measures an image of two names, and removes it.
func TestStock(t *testing.T) {
	h := newHost(t)
	more := h.addImage(t, v1.Config{})
	registry := testimage.Serve(t)
	app := registry.Push(t, "app:1", small(t, strings.Repeat("x", 1<<20)))
	h.ensure(app, corev1.PullIfNotPresent)
	h.ensure(registry.Push(t, "app:same", small(t, strings.Repeat("x", 1<<20))), corev1.PullIfNotPresent)
	all := h.stock(h.Runtime, "headway.test/more:"+more[len(more)-1:])
	if i := all[app]; len(i.Names) != 2 || i.Used || i.Keep != "" || time.Since(i.LastUsed) > patience || bytesOf(i) < 1<<20 {
		t.Errorf("the pulled one is %+v", i)
	}
	if !all[more].Used || all[h.image].Used {
		t.Errorf("one is named: %+v; the other is not: %+v", all[more], all[h.image])
	}
	content := digestOf(t, small(t, strings.Repeat("x", 1<<20)))
	if !h.discard(all[app]) {
		t.Fatal("it stays")
	}
	after := h.stock(h.Runtime)
	if _, found := after[app]; found || len(after) != len(all)-2 {
		t.Errorf("left are %v", after)
	}
	ctx := h.scope(h.context())
	for _, p := range all[app].Parts {
		if name, is := strings.CutPrefix(p.Name, "snapshot "); is {
			if _, err := h.client.SnapshotService(h.options.Snapshotter).Stat(ctx, name); !errdefs.IsNotFound(err) {
				t.Errorf("snapshot %s: %v", name, err)
			}
		}
	}
	if all, err := h.client.ContentStore().ListStatuses(ctx); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	if got := h.ensure(app, corev1.PullIfNotPresent); got != content {
		t.Errorf("brought anew it is %s", got)
	}
}

func bytesOf(i node.StoredImage) int64 {
	var all int64
	for _, p := range i.Parts {
		all += p.Bytes
	}
	return all
}

// TestStockKeeps goes through all that an image is kept for.
func TestStockKeeps(t *testing.T) {
	h := newHost(t)
	ctx := h.scope(h.context())
	registry := testimage.Serve(t)
	pulled := func(tag string) string {
		name := registry.Push(t, "app:"+tag, small(t, tag))
		h.ensure(name, corev1.PullIfNotPresent)
		return name
	}
	pinned, pinnedCRI, foreign := pulled("pinned"), pulled("cri"), pulled("foreign")
	for name, labels := range map[string]map[string]string{
		pinned: {labelOurs: originPulled, labelPinned: "true"}, pinnedCRI: {labelOurs: originPulled, labelPinnedCRI: "pinned"}, foreign: {},
	} {
		if err := h.relabel(ctx, name, labels); err != nil {
			t.Fatal(err)
		}
	}
	// A pin outlives that the image comes anew.
	h.ensure(pinned, corev1.PullAlways)
	left := h.addImage(t, v1.Config{})
	if err := h.pin(ctx, left, map[string]string{labelPinned: "true"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(h.options.ImageDir, "more-1.tar"), time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	h.ensure(left, corev1.PullAlways)
	all := h.stock(h.Runtime)
	for name, want := range map[string]string{
		pinned: "it is pinned", pinnedCRI: "it is pinned", foreign: "headway did not bring it here", left: "it is pinned", h.image: "",
	} {
		if all[name].Keep != want || all[name].Used {
			t.Errorf("%s: %+v, want %q", name, all[name], want)
		}
	}
	if err := os.Remove(filepath.Join(h.options.ImageDir, "busybox.tar")); err != nil {
		t.Fatal(err)
	}
	if i := h.stock(h.Runtime)[h.image]; i.Keep != "it was imported, and the image directory has it no more" {
		t.Errorf("without its archive: %+v", i)
	}
	// What runs, what has ended, and what was never started use it.
	for _, script := range []string{"sleep 1000", "exit 1", ""} {
		s := sandbox(t, fmt.Sprintf("user-%d", len(script)))
		id, err := h.Create(h.context(), h.script(s, "c", script))
		if err != nil {
			t.Fatal(err)
		}
		if script != "" {
			if err := h.Start(h.context(), id); err != nil {
				t.Fatal(err)
			}
		}
		if script == "exit 1" {
			h.exited(id)
		}
		if !h.stock(h.Runtime)[h.image].Used {
			t.Errorf("a container of %q does not count", script)
		}
		if err := h.Remove(h.context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if h.stock(h.Runtime)[h.image].Used {
		t.Error("it is used by nothing")
	}
}

// TestStockAfterRestart asks another daemon when images were used.
func TestStockAfterRestart(t *testing.T) {
	h := newHost(t)
	image := h.addImage(t, v1.Config{})
	before := h.stock(h.Runtime)
	h.ensure(image, corev1.PullIfNotPresent)
	if h.discard(before[image]) {
		t.Fatal("it went, although it was asked for since")
	}
	again := h.open(t, h.options)
	if i := h.stock(again)[image]; i.Used || i.Keep != "" || time.Since(i.LastUsed) > useWritten {
		t.Errorf("it is %+v", i)
	}
	// A use is written where what is written is old.
	again.uses.count(image, 0)
	record, err := again.client.ImageService().Get(h.scope(h.context()), image)
	if err != nil {
		t.Fatal(err)
	}
	was := record.UpdatedAt
	record.UpdatedAt = was.Add(-2 * useWritten)
	if _, err := again.lastUse(h.scope(h.context()), record, false); err != nil {
		t.Fatal(err)
	}
	record, err = again.client.ImageService().Get(h.scope(h.context()), image)
	if err != nil || !record.UpdatedAt.After(was) || record.Labels[labelUsed] == "" || record.Labels[labelOurs] != originImported {
		t.Errorf("it is %+v, %v", record, err)
	}
	// A clock that was ahead has no image stay forever.
	ahead := images.Image{Name: "headway.test/ahead:1", UpdatedAt: time.Now().Add(time.Hour)}
	if last, err := again.lastUse(h.scope(h.context()), ahead, false); err != nil || !last.Equal(again.uses.began) {
		t.Errorf("%v, %v", last, err)
	}
}

// TestDiscardRaces removes an image while it is asked for: who asks has it in the end.
func TestDiscardRaces(t *testing.T) {
	h := newHost(t)
	image := h.addImage(t, v1.Config{})
	went := 0
	for range 30 {
		i := h.stock(h.Runtime)[image]
		asked := make(chan error)
		go func() {
			_, err := h.Ensure(context.WithoutCancel(h.context()), image, corev1.PullIfNotPresent)
			asked <- err
		}()
		if h.discard(i) {
			went++
		}
		if err := <-asked; err != nil {
			t.Fatal(err)
		}
		if _, err := h.present(h.scope(h.context()), image); err != nil {
			t.Fatalf("it was asked for, and is gone: %v", err)
		}
	}
	t.Logf("it was removed before it came %d times of 30", went)
}

// TestDiscardDuringPull has a pull under way when stock is taken, and after that.
func TestDiscardDuringPull(t *testing.T) {
	h := newHost(t)
	registry := testimage.Serve(t)
	name := registry.Push(t, "app:1", small(t, "one"))
	h.ensure(name, corev1.PullIfNotPresent)
	before := h.stock(h.Runtime)[name]
	asked, goOn := make(chan struct{}, 100), make(chan struct{})
	registry.Before(func() {
		asked <- struct{}{}
		<-goOn
	})
	done := make(chan error)
	go func() {
		_, err := h.Ensure(h.context(), name, corev1.PullAlways)
		done <- err
	}()
	<-asked
	if h.discard(before) {
		t.Error("it went, although it is being pulled")
	}
	if i := h.stock(h.Runtime)[name]; !i.Used {
		t.Errorf("while it is pulled it is %+v", i)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
