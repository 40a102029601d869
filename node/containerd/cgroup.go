package containerd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3"
)

// cgroupMount is where every system mounts its control groups.
const cgroupMount = "/sys/fs/cgroup"

// cgroup is the control group of a container, as a path below each hierarchy.
func (r *Runtime) cgroup(id string) string { return path.Join(r.options.CgroupRoot, id) }

// oomKilled reports whether the kernel has killed a process of a control group for its memory. The group, and with it the
// kernel's own count, stays until the container's task is deleted: nothing needs to listen at the moment it happens.
func oomKilled(group string) bool {
	file := filepath.Join(cgroupMount, "memory", group, "memory.oom_control")
	if cgroups.Mode() == cgroups.Unified {
		file = filepath.Join(cgroupMount, group, "memory.events")
	}
	data, err := os.ReadFile(file)
	return err == nil && oomKills(data) > 0
}

// oomKills reads the count from memory.events, or from memory.oom_control of the first version.
func oomKills(data []byte) int {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if count, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok {
			n, _ := strconv.Atoi(count)
			return n
		}
	}
	return 0
}

// removeCgroups removes the control group above all containers from every hierarchy, and those above it that are empty.
func removeCgroups(root string) error {
	hierarchies := []string{cgroupMount}
	if cgroups.Mode() != cgroups.Unified {
		entries, err := os.ReadDir(cgroupMount)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() {
				hierarchies = append(hierarchies, filepath.Join(cgroupMount, e.Name()))
			}
		}
	}
	var errs []error
	for _, h := range hierarchies {
		for group := path.Clean("/" + root); group != "/"; group = path.Dir(group) {
			err := os.Remove(filepath.Join(h, group))
			if err == nil || errors.Is(err, os.ErrNotExist) {
				continue
			}
			if group == path.Clean("/"+root) {
				errs = append(errs, fmt.Errorf("remove control group: %w", err))
			}
			break // another node's is below it
		}
	}
	return errors.Join(errs...)
}
