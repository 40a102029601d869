package containerd

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

var _ node.Meter = (*Runtime)(nil)

// Metrics measures every running container by its control group, ordered by pod and name. One that ends meanwhile is
// left out. It reads a few files of the kernel's for each, and asks containerd once for all.
func (r *Runtime) Metrics(ctx context.Context) ([]api.ContainerUsage, error) {
	containers, err := r.Containers(ctx)
	if err != nil {
		return nil, fmt.Errorf("measure containers: %w", err)
	}
	var all []api.ContainerUsage
	for _, c := range containers {
		if c.State != node.ContainerRunning {
			continue
		}
		usage, err := measure(cgroupMount, r.cgroup(c.ID), cgroups.Mode() == cgroups.Unified, time.Now())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("measure container %s of %s: %w", c.Name, c.Pod, err)
		}
		all = append(all, api.ContainerUsage{Pod: c.Pod, UID: c.PodUID, Container: c.Name, Started: c.Started, Usage: usage})
	}
	slices.SortFunc(all, func(a, b api.ContainerUsage) int {
		return cmp.Or(cmp.Compare(a.Pod.String(), b.Pod.String()), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Container, b.Container))
	})
	return all, nil
}

// measure reads what a control group uses, of either version.
func measure(mount, group string, unified bool, now time.Time) (api.Usage, error) {
	usage := api.Usage{Time: now.UTC()}
	var err error
	var memory, inactive uint64
	if unified {
		dir := filepath.Join(mount, group)
		var micros uint64
		if micros, err = readField(filepath.Join(dir, "cpu.stat"), "usage_usec"); err != nil {
			return usage, err
		}
		usage.CPU = micros * uint64(time.Microsecond)
		if memory, err = readNumber(filepath.Join(dir, "memory.current")); err != nil {
			return usage, err
		}
		inactive, err = readField(filepath.Join(dir, "memory.stat"), "inactive_file")
	} else {
		if usage.CPU, err = readNumber(filepath.Join(mount, "cpuacct", group, "cpuacct.usage")); err != nil {
			return usage, err
		}
		dir := filepath.Join(mount, "memory", group)
		if memory, err = readNumber(filepath.Join(dir, "memory.usage_in_bytes")); err != nil {
			return usage, err
		}
		inactive, err = readField(filepath.Join(dir, "memory.stat"), "total_inactive_file")
	}
	// The kernel counts both at different moments.
	usage.Memory = memory - min(memory, inactive)
	return usage, err
}

func readNumber(file string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

// readField reads one of a file's lines that are each a name and a number.
func readField(file, name string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != name {
			continue
		}
		n, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %s: %w", file, name, err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// tick is the unit of /proc/stat, the same on all of Linux's common architectures.
const tick = 10 * time.Millisecond

// MachineUsage measures the machine.
func (*Runtime) MachineUsage() (api.Usage, error) {
	usage, err := machineUsage("/proc", time.Now())
	if err != nil {
		return usage, fmt.Errorf("measure the machine: %w", err)
	}
	return usage, nil
}

func machineUsage(proc string, now time.Time) (api.Usage, error) {
	usage := api.Usage{Time: now.UTC()}
	data, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return usage, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	// cpu user nice system idle iowait irq softirq steal; what guests use is part of user.
	const idle, iowait, last = 4, 5, 8
	if len(fields) <= last || fields[0] != "cpu" {
		return usage, fmt.Errorf("%s/stat begins with %q", proc, line)
	}
	for i, f := range fields[1 : last+1] {
		if i+1 == idle || i+1 == iowait {
			continue
		}
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return usage, fmt.Errorf("%s/stat: %w", proc, err)
		}
		usage.CPU += n * uint64(tick)
	}
	meminfo := filepath.Join(proc, "meminfo")
	total, err := readField(meminfo, "MemTotal:")
	if err != nil {
		return usage, err
	}
	available, err := readField(meminfo, "MemAvailable:")
	usage.Memory = (total - min(total, available)) << 10
	return usage, err
}
