package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"headway.dev/headway/api"
	"headway.dev/headway/node"
	corev1 "k8s.io/api/core/v1"
)

// Volumes keeps the volumes of a machine's pods: those of each in directories of its own, named by its UID.
type Volumes struct {
	dir    string // of what pods write
	memory string // of what pods only read: it is written anew after a reboot
}

// Open uses two directories for volumes, and makes them: one for what pods write, and one, best in memory, for what they
// only read.
func Open(dir, memory string) (*Volumes, error) {
	v := &Volumes{}
	for _, d := range []struct {
		path     string
		resolved *string
	}{{dir, &v.dir}, {memory, &v.memory}} {
		if !filepath.IsAbs(d.path) {
			return nil, fmt.Errorf("volumes: %q is not an absolute path", d.path)
		}
		if err := os.MkdirAll(d.path, 0o711); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
		resolved, err := filepath.EvalSymlinks(d.path) // as the kernel names mount points
		if err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
		*d.resolved = resolved
	}
	return v, nil
}

// Prepare makes every volume of the pod and returns the path of each by the volume's name. What is there already stays
// as it is: a pod's config maps never change, and its files are its own.
func (v *Volumes) Prepare(ctx context.Context, config node.VolumeConfig) (map[string]string, error) {
	uid, template, configs := config.UID, config.Template, config.Configs
	if !isName(uid) {
		return nil, fmt.Errorf("volumes: the UID %q cannot be the name of a directory", uid)
	}
	paths := map[string]string{}
	for _, spec := range template.Spec.Volumes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !isName(spec.Name) {
			return nil, fmt.Errorf("the name of volume %q cannot be that of a directory", spec.Name)
		}
		path := filepath.Join(v.parent(spec), uid, spec.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
			return nil, err
		}
		if err := v.prepare(path, spec, configs); err != nil {
			return nil, fmt.Errorf("volume %s: %w", spec.Name, err)
		}
		paths[spec.Name] = path
	}
	return paths, nil
}

// parent is the directory for volumes of a kind.
func (v *Volumes) parent(spec corev1.Volume) string {
	if spec.ConfigMap != nil {
		return v.memory
	}
	return v.dir
}

func (v *Volumes) prepare(path string, spec corev1.Volume, configs map[string]api.ConfigData) error {
	switch {
	case spec.ConfigMap != nil:
		config, found := configs[spec.ConfigMap.Name]
		if !found && !isTrue(spec.ConfigMap.Optional) {
			return fmt.Errorf("there is no config map %s", spec.ConfigMap.Name)
		}
		return writeConfig(path, spec.ConfigMap, config)
	case spec.EmptyDir != nil:
		return emptyDir(path, spec.EmptyDir)
	case spec.VolumeSource == corev1.VolumeSource{}:
		return emptyDir(path, &corev1.EmptyDirVolumeSource{})
	}
	return errors.New("only configMap and emptyDir are supported")
}

func isTrue(b *bool) bool { return b != nil && *b }

// Remove takes away the pod's volumes: mounts first, then the files. It follows no links out of them.
func (v *Volumes) Remove(ctx context.Context, uid string) error {
	if !isName(uid) {
		return fmt.Errorf("volumes: the UID %q cannot be the name of a directory", uid)
	}
	for _, parent := range []string{v.memory, v.dir} {
		if err := remove(ctx, filepath.Join(parent, uid)); err != nil {
			return fmt.Errorf("remove the volumes of pod %s: %w", uid, err)
		}
	}
	return nil
}

func remove(ctx context.Context, dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, path := range slices.Backward(mounts) { // what was mounted last may lie on what was mounted before
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := unmount(path); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// unmount takes a mount away. One that is still in use is hidden at once, and gone with its last user.
func unmount(path string) error {
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // neither a mount nor there: gone
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

// Pods lists the UIDs of pods that have volumes on the machine, in order.
func (v *Volumes) Pods(context.Context) ([]string, error) {
	var uids []string
	for _, dir := range []string{v.memory, v.dir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("volumes: %w", err)
		}
		for _, e := range entries {
			uids = append(uids, e.Name())
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids), nil
}

// isName says whether a string names a file in its directory, and nothing elsewhere.
func isName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 255 && !strings.ContainsAny(s, "/\x00")
}
