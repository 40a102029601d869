package volume

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MountMemory puts a file system in memory at dir, unless there is one: for what must never come to a disk, and for what
// ends with the machine anyway. Only root may look in.
func MountMemory(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if mounted, err := isMemory(dir); err != nil || mounted {
		return err
	}
	// What is swapped out is on a disk. Kernels before 6.4 cannot leave it out of that.
	err := unix.Mount("headway", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711,noswap")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("headway", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711")
	}
	if err != nil {
		return fmt.Errorf("mount a file system in memory at %s: %w", dir, err)
	}
	return nil
}

// UnmountMemory takes away what MountMemory mounted, with all that is in it.
func UnmountMemory(dir string) error {
	mounted, err := isMemory(dir)
	if err != nil || !mounted {
		return err
	}
	return unmount(dir)
}

// isMemory tells whether a file system in memory is mounted at dir itself.
func isMemory(dir string) (bool, error) {
	var s unix.Statfs_t
	var own, parent unix.Stat_t
	for _, err := range []error{unix.Statfs(dir, &s), unix.Stat(dir, &own), unix.Stat(dir+"/..", &parent)} {
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return s.Type == unix.TMPFS_MAGIC && own.Dev != parent.Dev, nil
}
