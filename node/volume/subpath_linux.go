package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"headway.dev/headway/node"
)

// racedTries is how often a path is looked up again that changed meanwhile.
const racedTries = 100

// SubPath gives a part of a volume, at a place where no pod can put a link: it is looked up by the kernel, which does not
// leave the volume, and what was found then is bound to that place, whatever has the path's name by now. A part that is
// missing becomes a directory like that of the volume, except in one that pods only read.
func (v *Volumes) SubPath(ctx context.Context, part node.SubPath) (string, error) {
	if !isName(part.UID) || !isName(part.Container) {
		return "", fmt.Errorf("the pod %q and container %q cannot be the names of directories", part.UID, part.Container)
	}
	if filepath.IsAbs(part.Path) || slices.Contains(strings.Split(part.Path, "/"), "..") {
		return "", fmt.Errorf("the part %q of volume %s must be a relative path without '..'", part.Path, part.Volume)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	fd, err := openPart(part)
	if err != nil {
		return "", fmt.Errorf("part %s of volume %s: %w", part.Path, part.Volume, err)
	}
	defer unix.Close(fd)
	place := filepath.Join(v.memory, part.UID, subPaths, part.Container, strconv.Itoa(part.Mount))
	if err := bindTo(fd, place); err != nil {
		return "", fmt.Errorf("part %s of volume %s: %w", part.Path, part.Volume, err)
	}
	return place, nil
}

// openPart opens the part, and makes it if it is missing.
func openPart(part node.SubPath) (int, error) {
	volume, err := unix.Open(part.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(volume)
	fd, err := openBeneath(volume, part.Path)
	if !errors.Is(err, unix.ENOENT) || part.ReadOnly {
		return fd, err
	}
	if err := makePart(part); err != nil {
		return -1, err
	}
	return openBeneath(volume, part.Path)
}

// openBeneath has the kernel look up a path, which fails where it leads out of the directory.
func openBeneath(dir int, path string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	for range racedTries {
		fd, err := unix.Openat2(dir, path, &how)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR): // something was renamed meanwhile
			continue
		case errors.Is(err, unix.EXDEV):
			return -1, errors.New("it leads out of the volume by a link")
		}
		return fd, err
	}
	return -1, errors.New("it changes all the time")
}

// makePart makes the directories of the path, with the mode of the volume's own.
func makePart(part node.SubPath) error {
	root, err := os.OpenRoot(part.Source)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	path := ""
	for _, name := range strings.Split(filepath.Clean(part.Path), "/") {
		path = filepath.Join(path, name)
		err := root.Mkdir(path, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := root.Chmod(path, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// bindTo mounts what is open at a place, in the stead of what an earlier run of the container had there.
func bindTo(fd int, place string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := unmountAll(place); err != nil {
		return err
	}
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o711); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := os.Mkdir(place, 0o700); err != nil {
			return err
		}
	} else if err := os.WriteFile(place, nil, 0o600); err != nil {
		return err
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(fd), place, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount it at %s: %w", place, err)
	}
	return nil
}

// unmountAll takes away all mounts at or below a path.
func unmountAll(path string) error {
	mounts, err := mountsBelow(path)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if err := unmount(m); err != nil {
			return err
		}
	}
	return nil
}
