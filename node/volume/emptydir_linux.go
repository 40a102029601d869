package volume

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// emptyDirMode lets any user of the pod's containers write, as Kubernetes does.
const emptyDirMode fs.FileMode = 0o777

// emptyDir makes an empty directory, on disk or in memory, unless it is there. One in memory is bounded by its size
// limit, and else as the kernel bounds a tmpfs; one on disk is measured, by VolumeUsage.
func emptyDir(path string, source *corev1.EmptyDirVolumeSource) error {
	if source.Medium != corev1.StorageMediumDefault && source.Medium != corev1.StorageMediumMemory {
		return fmt.Errorf("the medium %q is not supported: leave it out, or use Memory", source.Medium)
	}
	err := os.Mkdir(path, emptyDirMode)
	fresh := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	switch {
	case source.Medium == corev1.StorageMediumMemory:
		options := fmt.Sprintf("mode=%o", emptyDirMode)
		if source.SizeLimit != nil && source.SizeLimit.Value() > 0 {
			options += fmt.Sprintf(",size=%d", source.SizeLimit.Value())
		}
		return mountMemory(path, unix.MS_NOSUID|unix.MS_NODEV, options)
	case fresh:
		return os.Chmod(path, emptyDirMode) // whatever the umask is
	}
	return nil
}

// sharedOptions are those that container runtimes give /dev/shm.
const sharedOptions = "mode=1777,size=64m"

// mountShared makes the memory that the containers of a pod share.
func mountShared(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return mountMemory(path, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, sharedOptions)
}

// mountMemory mounts a tmpfs, unless there is one: it would hide what the pod has written.
func mountMemory(path string, flags uintptr, options string) error {
	mounted, err := isMemory(path)
	if err != nil || mounted {
		return err
	}
	if err := unix.Mount("headway", path, "tmpfs", flags, options); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", path, err)
	}
	return nil
}

// mountsBelow lists the mount points at or below a path, in the order in which they were mounted.
func mountsBelow(path string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var below []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // overlays have long lines
	for lines.Scan() {
		// The fifth field of proc_pid_mountinfo(5) is the mount point, with special characters in octal.
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape(fields[4])
		if point == path || strings.HasPrefix(point, path+"/") {
			below = append(below, point)
		}
	}
	return below, lines.Err()
}

// unescape puts the characters back that mountinfo writes as \ooo.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		s = after
		if len(s) >= 3 {
			if n, err := strconv.ParseUint(s[:3], 8, 8); err == nil {
				b.WriteByte(byte(n))
				s = s[3:]
				continue
			}
		}
		b.WriteByte('\\')
	}
}
