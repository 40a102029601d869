package containerd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
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

// boundsSwap says whether the kernel bounds how much of a control group it swaps out. Without swap there is nothing to
// bound.
func boundsSwap() bool {
	if cgroups.Mode() == cgroups.Unified {
		swaps, err := os.ReadFile("/proc/swaps")
		return err == nil && bytes.Count(swaps, []byte("\n")) > 1 // beside the heading
	}
	_, err := os.Stat(filepath.Join(cgroupMount, "memory", "memory.memsw.limit_in_bytes"))
	return err == nil
}

const (
	// busyTimeout bounds the wait for processes that were killed to leave their control group.
	busyTimeout  = 10 * time.Second
	busyInterval = 20 * time.Millisecond
)

// removeCgroups removes a control group with all below it from every hierarchy, and those above it that are empty then.
func removeCgroups(ctx context.Context, group string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for _, h := range hierarchies {
		if err := removeGroup(ctx, filepath.Join(h, group)); err != nil {
			return fmt.Errorf("remove control group: %w", err)
		}
		for above := path.Dir(path.Clean("/" + group)); above != "/"; above = path.Dir(above) {
			if os.Remove(filepath.Join(h, above)) != nil {
				break // another node's is in it
			}
		}
	}
	return nil
}

// cgroupHierarchies are the directories where control groups are mounted: one, or one for each controller.
func cgroupHierarchies() ([]string, error) {
	if cgroups.Mode() == cgroups.Unified {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, filepath.Join(cgroupMount, e.Name()))
		}
	}
	return all, nil
}

// removeGroup removes a control group, those below it first. It waits for one that is busy.
func removeGroup(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue // the kernel's files, which go with the group
		}
		if err := removeGroup(ctx, filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	tick := time.NewTicker(busyInterval)
	defer tick.Stop()
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		} else if !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
