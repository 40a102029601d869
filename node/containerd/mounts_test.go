package containerd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
)

// TestWithMounted: what is mounted for a moment is seen by nobody else, so that a daemon killed meanwhile leaves nothing.
func TestWithMounted(t *testing.T) {
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		err := withMounted(context.Background(), []mount.Mount{{Type: "bind", Source: source, Options: []string{"bind"}}}, func(dir string) error {
			if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "here" {
				t.Errorf("read %q, %v", got, err)
			}
			mounts, err := os.ReadFile("/proc/self/mountinfo") // of the process, not of this thread
			if err == nil && strings.Contains(string(mounts), dir) {
				t.Errorf("%s is mounted for all to see", dir)
			}
			if os.WriteFile(filepath.Join(dir, "file"), nil, 0o600) == nil {
				t.Error("it can be written")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if after, err := os.Readlink("/proc/self/ns/mnt"); err != nil || after != before {
		t.Errorf("the process is in mount namespace %s now, %v", after, err)
	}
}
