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
// limit, and else as the kernel bounds a tmpfs; the limit of one on disk is not enforced.
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
		return mountMemory(path, source)
	case fresh:
		return os.Chmod(path, emptyDirMode) // whatever the umask is
	}
	return nil
}

// mountMemory mounts a tmpfs, unless there is one: it would hide what the pod has written.
func mountMemory(path string, source *corev1.EmptyDirVolumeSource) error {
	mounted, err := isMountPoint(path)
	if err != nil || mounted {
		return err
	}
	options := fmt.Sprintf("mode=%o", emptyDirMode)
	if source.SizeLimit != nil && source.SizeLimit.Value() > 0 {
		options += fmt.Sprintf(",size=%d", source.SizeLimit.Value())
	}
	if err := unix.Mount("headway", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", path, err)
	}
	return nil
}

func isMountPoint(path string) (bool, error) {
	mounts, err := mountsBelow(path)
	for _, m := range mounts {
		if m == path {
			return true, nil
		}
	}
	return false, err
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
