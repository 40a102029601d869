package volume_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headway.dev/headway/node/volume"
)

func TestMountMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	t.Cleanup(func() {
		if err := volume.UnmountMemory(dir); err != nil {
			t.Error(err)
		}
	})
	if err := volume.UnmountMemory(dir); err != nil {
		t.Errorf("what was never there: %v", err)
	}
	kept := filepath.Join(dir, "kept")
	for range 2 { // by a daemon, and by the next one
		if err := volume.MountMemory(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(kept, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(mounts), " "+dir+" "); n != 1 || !strings.Contains(string(mounts), "tmpfs headway") {
		t.Errorf("it is mounted %d times", n)
	}
	if err := volume.UnmountMemory(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); !os.IsNotExist(err) {
		t.Errorf("a file is left, %v", err)
	}
}
