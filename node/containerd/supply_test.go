package containerd

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"

	"headway.dev/headway/node"
	"headway.dev/headway/node/conformance"
	"headway.dev/headway/node/logfile"
)

// writeTree writes files by their path.
func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMemorySupply(t *testing.T) {
	const meminfo = "MemTotal:    1000 kB\nMemFree:   300 kB\nMemAvailable:  800 kB\n"
	first := map[string]string{
		"proc/meminfo":                             meminfo,
		"cgroup/memory/memory.usage_in_bytes":      "614400\n", // 600 KiB
		"cgroup/memory/memory.stat":                "inactive_file 1\ntotal_inactive_file 102400\n",
		"cgroup/memory/pods/memory.stat":           "total_inactive_file 1024\n",
		"cgroup/memory/pods/memory.limit_in_bytes": "9223372036854771712\n",
		"cgroup/memory/pods/memory.usage_in_bytes": "11264\n",
	}
	second := map[string]string{
		"proc/meminfo": meminfo, "cgroup/memory.stat": "anon 1\ninactive_file 204800\n",
		"cgroup/pods/memory.stat": "inactive_file 1024\n", "cgroup/pods/memory.max": "max\n", "cgroup/pods/memory.current": "11264\n",
	}
	for _, c := range []struct {
		name    string
		files   map[string]string
		unified bool
		more    map[string]string
		want    node.Supply
	}{
		{"cgroup v1", first, false, nil, node.Supply{Available: 500 << 10, Capacity: 1000 << 10}},
		{"cgroup v1 with a bound", first, false, map[string]string{"cgroup/memory/pods/memory.limit_in_bytes": "102400\n"}, node.Supply{Available: 90 << 10, Capacity: 100 << 10}},
		{"cgroup v1 with a bound that does not matter", first, false, map[string]string{"cgroup/memory/pods/memory.limit_in_bytes": "1023000\n"}, node.Supply{Available: 500 << 10, Capacity: 1000 << 10}},
		{"cgroup v2", second, true, nil, node.Supply{Available: 500 << 10, Capacity: 1000 << 10}},
		{"cgroup v2 with a bound", second, true, map[string]string{"cgroup/pods/memory.max": "102400\n"}, node.Supply{Available: 90 << 10, Capacity: 100 << 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeTree(t, dir, c.files)
			writeTree(t, dir, c.more)
			got, err := memorySupply(filepath.Join(dir, "cgroup"), filepath.Join(dir, "proc"), "pods", c.unified)
			if err != nil || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
			if none, err := memorySupply(filepath.Join(dir, "cgroup"), filepath.Join(dir, "proc"), "none", c.unified); err != nil || none.Capacity != 1000<<10 {
				t.Errorf("before anything has run: %+v, %v", none, err)
			}
		})
	}
}

// TestSupplies measures this machine, with a small disk beside that of images.
func TestSupplies(t *testing.T) {
	h := newHost(t)
	dir := smallDisk(t, 8<<20)
	s, err := h.Supplies(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.NodeFS.Capacity != 8<<20 || s.NodeFS.Available != 8<<20 {
		t.Errorf("the small disk is %+v", s.NodeFS)
	}
	if s.OneDisk || s.ImageFS.Capacity <= s.NodeFS.Capacity || s.ImageFS.Available <= 0 || s.ImageFS.Available > s.ImageFS.Capacity {
		t.Errorf("on one disk: %t; that of images is %+v", s.OneDisk, s.ImageFS)
	}
	if s.Memory.Available <= 0 || s.Memory.Available > s.Memory.Capacity {
		t.Errorf("the memory is %+v", s.Memory)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Supplies(dir); err != nil || s.NodeFS.Available != 4<<20 {
		t.Errorf("half full it is %+v, %v", s.NodeFS, err)
	}
}

// smallDisk mounts a file system in memory of so many bytes.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(bytes)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestBoundedMemory evicts by what is left in the control group of all pods.
func TestBoundedMemory(t *testing.T) {
	h := newHost(t)
	dir, limit := filepath.Join(cgroupMount, "memory", h.options.CgroupRoot), "memory.limit_in_bytes"
	if cgroups.Mode() == cgroups.Unified {
		dir, limit = filepath.Join(cgroupMount, h.options.CgroupRoot), "memory.max"
	}
	writeTree(t, dir, map[string]string{limit: "96M"})
	conformance.Bounded(t, conformance.Machine{Image: h.image, Config: node.Config{
		Runtime: h.Runtime, Images: h.Runtime, Logs: logfile.New(),
		Network: &pinned{t: t, sandboxes: map[string]node.Sandbox{}}, Router: noRouter{}, Prober: noProber{}, Volumes: noVolumes{},
	}})
}
