package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"

	"headway.dev/headway/node"
)

var _ node.SupplyMeter = (*Runtime)(nil)

// Supplies measures what the machine has left, as the kubelet reckons it: of memory what is outside of the working set of all
// processes; where the control group above all pods is bounded, no more than what is left there.
func (r *Runtime) Supplies(dir string) (node.Supplies, error) {
	var s node.Supplies
	var err error
	if s.Memory, err = memorySupply(cgroupMount, "/proc", r.options.CgroupRoot, cgroups.Mode() == cgroups.Unified); err != nil {
		return s, fmt.Errorf("measure memory: %w", err)
	}
	var at, images unix.Stat_t
	if s.NodeFS, err = diskSupply(dir, &at); err != nil {
		return s, fmt.Errorf("measure the disk of %s: %w", dir, err)
	}
	if r.imageDir == "" { // containerd does not say: it is taken for the same
		s.ImageFS, s.OneDisk = s.NodeFS, true
		return s, nil
	}
	if s.ImageFS, err = diskSupply(r.imageDir, &images); err != nil {
		return s, fmt.Errorf("measure the disk of images: %w", err)
	}
	s.OneDisk = at.Dev == images.Dev
	return s, nil
}

// diskSupply measures a file system. What only root may still use does not count.
func diskSupply(dir string, at *unix.Stat_t) (node.Supply, error) {
	var fs unix.Statfs_t
	if err := errors.Join(unix.Statfs(dir, &fs), unix.Stat(dir, at)); err != nil {
		return node.Supply{}, err
	}
	return node.Supply{Available: int64(fs.Bavail) * fs.Bsize, Capacity: int64(fs.Blocks) * fs.Bsize}, nil
}

// memorySupply measures the machine, and the control group of pods where that has less.
func memorySupply(mount, proc, group string, unified bool) (node.Supply, error) {
	machine, err := machineMemory(mount, proc, unified)
	if err != nil {
		return machine, err
	}
	pods, err := groupMemory(mount, group, unified, machine.Capacity)
	switch {
	case errors.Is(err, fs.ErrNotExist): // nothing has run yet
		return machine, nil
	case err != nil:
		return machine, err
	case pods.Capacity > 0 && pods.Available < machine.Available:
		return pods, nil
	}
	return machine, nil
}

// machineMemory reads what the root of the control groups has in use. In the second version the kernel counts that only
// for the machine as a whole.
func machineMemory(mount, proc string, unified bool) (node.Supply, error) {
	meminfo := filepath.Join(proc, "meminfo")
	total, err := readField(meminfo, "MemTotal:")
	if err != nil {
		return node.Supply{}, err
	}
	total <<= 10
	var used, inactive uint64
	if unified {
		var free uint64
		if free, err = readField(meminfo, "MemFree:"); err != nil {
			return node.Supply{}, err
		}
		used = total - min(total, free<<10)
		inactive, err = readField(filepath.Join(mount, "memory.stat"), "inactive_file")
	} else {
		if used, err = readNumber(filepath.Join(mount, "memory", "memory.usage_in_bytes")); err != nil {
			return node.Supply{}, err
		}
		inactive, err = readField(filepath.Join(mount, "memory", "memory.stat"), "total_inactive_file")
	}
	used -= min(used, inactive)
	return node.Supply{Available: int64(total - min(total, used)), Capacity: int64(total)}, err
}

// groupMemory measures a control group by its own limit; without one the capacity is 0.
func groupMemory(mount, group string, unified bool, machine int64) (node.Supply, error) {
	dir, limitFile, usedFile, field := filepath.Join(mount, "memory", group), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	if unified {
		dir, limitFile, usedFile, field = filepath.Join(mount, group), "memory.max", "memory.current", "inactive_file"
	}
	limit, err := readLimit(filepath.Join(dir, limitFile))
	if err != nil || limit == 0 || limit >= uint64(machine) {
		return node.Supply{}, err
	}
	used, err := readNumber(filepath.Join(dir, usedFile))
	if err != nil {
		return node.Supply{}, err
	}
	inactive, err := readField(filepath.Join(dir, "memory.stat"), field)
	used -= min(used, inactive)
	return node.Supply{Available: int64(limit - min(limit, used)), Capacity: int64(limit)}, err
}

// readLimit reads a control group's limit; 0 is none. The first version has a number for it that no machine reaches.
func readLimit(file string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(data)) == "max" {
		return 0, err
	}
	return readNumber(file)
}

// findImages asks containerd where it unpacks images.
func (r *Runtime) findImages(ctx context.Context) error {
	found, err := r.client.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1,id=="+r.options.Snapshotter)
	if err != nil {
		return fmt.Errorf("ask where images are: %w", err)
	}
	for _, p := range found.Plugins {
		dir := p.Exports["root"]
		var st unix.Stat_t
		if dir != "" && unix.Stat(dir, &st) == nil {
			r.imageDir = dir
		}
	}
	return nil
}
