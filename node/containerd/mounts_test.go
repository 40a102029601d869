package containerd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
)

// TestWithMounted: what is mounted for a moment is seen by nobody else, so that a daemon killed meanwhile leaves nothing: also
// for an image of so many layers that their whole names do not fit into one page.
func TestWithMounted(t *testing.T) {
	bind := layer(t, t.TempDir(), "bind", "file", "here")
	snapshots := filepath.Join(t.TempDir(), "containerd", "io.containerd.snapshotter.v1.overlayfs", "snapshots")
	upper := layer(t, snapshots, "new", "file", "here")
	lower := []string{layer(t, snapshots, "old", "file", "before")}
	for i := range 100 {
		lower = append(lower, layer(t, snapshots, fmt.Sprint(i), fmt.Sprint(i), ""))
	}
	for name, m := range map[string]mount.Mount{
		"a directory": {Type: "bind", Source: bind, Options: []string{"rbind", "rw"}},
		"two layers":  {Type: "overlay", Source: "overlay", Options: []string{"index=off", "workdir=" + snapshots + "/work", "upperdir=" + upper, "lowerdir=" + lower[0]}},
		"many layers": {Type: "overlay", Source: "overlay", Options: []string{"workdir=" + snapshots + "/work", "upperdir=" + upper, "lowerdir=" + strings.Join(lower, ":")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			before := namespace(t)
			for range 20 {
				if err := withMounted([]mount.Mount{m}, func(dir string) error { return readsHere(dir, m.Type) }); err != nil {
					t.Fatal(err)
				}
			}
			if after := namespace(t); after != before {
				t.Errorf("the process is in mount namespace %s now, it was in %s", after, before)
			}
			if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// layer makes a snapshot's directory with one file and returns its name.
func layer(t *testing.T, snapshots, name, file, content string) string {
	t.Helper()
	dir := filepath.Join(snapshots, name, "fs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func namespace(t *testing.T) string {
	t.Helper()
	name, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// readsHere says what is wrong with what is mounted in a directory.
func readsHere(dir, kind string) error {
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "here" {
		return fmt.Errorf("read %q, %w", got, err)
	}
	if os.WriteFile(filepath.Join(dir, "file"), nil, 0o600) == nil {
		return fmt.Errorf("%s can be written", dir)
	}
	own, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil || !strings.Contains(string(own), " "+dir+" ") {
		return fmt.Errorf("no %s is mounted in %s for the thread, %w", kind, dir, err)
	}
	all, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(all), " "+dir+" ") {
		return fmt.Errorf("%s is mounted for all to see, %w", dir, err)
	}
	return nil
}
