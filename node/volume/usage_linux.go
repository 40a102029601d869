package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// blockSize is the unit in which the kernel counts a file's blocks.
const blockSize = 512

// VolumeUsage gives the bytes on disk of the pod's emptyDir volumes, by name. What is in memory is bounded by the kernel,
// and not counted.
func (v *Volumes) VolumeUsage(ctx context.Context, uid string) (map[string]int64, error) {
	if !isName(uid) {
		return nil, fmt.Errorf("volumes: the UID %q cannot be the name of a directory", uid)
	}
	dir := filepath.Join(v.dir, uid)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var top unix.Stat_t
	if err := unix.Lstat(dir, &top); err != nil {
		return nil, err
	}
	usage := map[string]int64{}
	for _, e := range entries {
		if e.Name() == claimed { // a claim has what it asks for to itself
			continue
		}
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Dev != top.Dev {
			continue // gone, or in memory
		}
		if usage[e.Name()], err = diskUsage(ctx, path); err != nil {
			return nil, fmt.Errorf("volume %s: %w", e.Name(), err)
		}
	}
	return usage, nil
}

// diskUsage is what du says: a file of several names counts once, one that vanishes meanwhile not at all.
func diskUsage(ctx context.Context, dir string) (int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	var total int64
	seen := map[uint64]bool{} // of files with several names
	err = fs.WalkDir(root.FS(), ".", func(_ string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil // it has vanished
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Nlink > 1 && !info.IsDir() && seen[st.Ino] {
			return nil
		}
		seen[st.Ino] = seen[st.Ino] || st.Nlink > 1 && !info.IsDir()
		total += st.Blocks * blockSize
		return nil
	})
	return total, err
}
