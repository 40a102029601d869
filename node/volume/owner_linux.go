package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
)

// access is what the group of a volume may do with it.
type access fs.FileMode

// As Kubernetes gives it: of what pods write, and of what they only read.
const (
	writable access = 0o660
	readable access = 0o440
	search   access = 0o110 // in directories
)

// groupMode adds to a mode what the group may do. What is made in a directory belongs to its group too.
func groupMode(mode fs.FileMode, a access) fs.FileMode {
	mode |= fs.FileMode(a)
	if mode.IsDir() {
		mode |= fs.FileMode(search) | fs.ModeSetgid
	}
	return mode & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// own gives all files of a volume to the pod's group, once for the pod: what its containers change later is theirs. With
// the policy OnRootMismatch a volume whose directory belongs to the group is taken to be done. It follows no links.
func (v *Volumes) own(path string, config node.VolumeConfig, volume string) error {
	group := fsGroup(config.Template)
	if group == nil {
		return nil
	}
	done := filepath.Join(v.memory, config.UID, owned, volume)
	if _, err := os.Lstat(done); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	policy := config.Template.Spec.SecurityContext.FSGroupChangePolicy
	matches := false
	if policy != nil && *policy == corev1.FSGroupChangeOnRootMismatch {
		if matches, err = belongs(root, *group); err != nil {
			return err
		}
	}
	if !matches {
		if err := giveAll(root, int(*group)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(done), 0o700); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o600)
}

// belongs says whether the volume's directory is as giveAll leaves it.
func belongs(root *os.Root, group int64) (bool, error) {
	info, err := root.Lstat(".")
	if err != nil {
		return false, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(root.Name(), &st); err != nil {
		return false, err
	}
	return int64(st.Gid) == group && groupMode(info.Mode(), writable) == info.Mode()&^fs.ModeDir, nil
}

// giveAll goes from the leaves to the root, so that the directory at the top is done only when all is.
func giveAll(root *os.Root, group int) error {
	var dirs []string
	err := fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // another pod of the claim has deleted it meanwhile
			return nil
		case err != nil:
			return err
		case entry.IsDir():
			dirs = append(dirs, path)
			return nil
		}
		return give(root, path, group)
	})
	for i := len(dirs) - 1; err == nil && i >= 0; i-- {
		err = give(root, dirs[i], group)
	}
	return err
}

// give gives one file to the group. A link is given itself, and not what it leads to.
func give(root *os.Root, path string, group int) error {
	info, err := root.Lstat(path)
	if err == nil {
		err = root.Lchown(path, -1, group)
	}
	if err == nil && info.Mode().Type() != fs.ModeSymlink {
		err = root.Chmod(path, groupMode(info.Mode(), writable))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
