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
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// Volumes keeps the volumes of a machine's pods: those of each in directories of its own, named by its UID.
type Volumes struct {
	dir    string // of what pods write
	memory string // of what pods only read: it is written anew after a reboot
}

var (
	_ node.Volumes       = (*Volumes)(nil)
	_ node.VolumeUpdater = (*Volumes)(nil)
	_ node.SubPather     = (*Volumes)(nil)
	_ node.VolumeMeter   = (*Volumes)(nil)
)

// Names beside those of volumes. No volume's name has a dot.
const (
	sharedMemory = ".shm"
	subPaths     = ".parts" // and below it CONTAINER/NUMBER
	owned        = ".owned" // and below it an empty file for each volume whose files have their group
	claimed      = ".claim" // and below it the directories of claims that go with the pod
)

// Open uses two directories for volumes, and makes them: one for what pods write, and one in memory for what they only
// read. Secrets are refused where the second is not in memory.
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

// Prepare makes every volume of the pod and returns the path of each by the volume's name, and that of the memory that the
// pod's containers share. What is there already stays as it is: the files of a running pod are its own, and only Update
// changes those of its configuration.
func (v *Volumes) Prepare(ctx context.Context, config node.VolumeConfig) (map[string]string, error) {
	if !isName(config.UID) {
		return nil, fmt.Errorf("volumes: the UID %q cannot be the name of a directory", config.UID)
	}
	// What is on disk makes its own: most pods have nothing there, and an inode in memory costs next to nothing.
	if err := os.MkdirAll(filepath.Join(v.memory, config.UID), 0o711); err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for _, spec := range config.Template.Spec.Volumes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		path, err := v.prepare(config, spec)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", spec.Name, err)
		}
		paths[spec.Name] = path
	}
	if !shares(config.Template) {
		return paths, nil
	}
	shared := filepath.Join(v.memory, config.UID, sharedMemory)
	if err := mountShared(shared); err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	paths[node.SharedMemory] = shared
	return paths, nil
}

// shares reports whether the pod has several containers. A single one has memory of its own from the runtime, which is one
// mount less on the machine for each such pod.
func shares(t *api.PodTemplate) bool {
	return len(t.Spec.InitContainers)+len(t.Spec.Containers) > 1
}

// prepare makes one volume.
func (v *Volumes) prepare(config node.VolumeConfig, spec corev1.Volume) (path string, err error) {
	if !isName(spec.Name) {
		return "", errors.New("its name cannot be that of a directory")
	}
	switch source := spec.VolumeSource; {
	case source.HostPath != nil: // the machine's own, which belongs to no pod
		return source.HostPath.Path, hostPath(source.HostPath)
	case source.PersistentVolumeClaim != nil:
		bound, declared := config.Volumes[spec.Name]
		if !declared {
			path, err = claim(config.Claims[spec.Name])
		} else if path, err = bound.Path, declaredVolume(bound); err != nil || !bound.Local {
			return path, err
		}
	case source.Ephemeral != nil: // it goes with the pod's other volumes
		path, err = claim(filepath.Join(v.dir, config.UID, claimed, spec.Name))
	case source.EmptyDir != nil || source == corev1.VolumeSource{}:
		path = filepath.Join(v.dir, config.UID, spec.Name)
		if source.EmptyDir == nil {
			source.EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
		if err = os.MkdirAll(filepath.Dir(path), 0o711); err == nil {
			err = emptyDir(path, source.EmptyDir)
		}
	default:
		return v.write(config, spec, keep)
	}
	if readOnly := spec.PersistentVolumeClaim; err != nil || readOnly != nil && readOnly.ReadOnly {
		return path, err
	}
	return path, v.own(path, config, spec.Name)
}

// Update makes the files of the pod's configuration what it says now, all of a volume at once. A volume that cannot be
// updated keeps its files, and does not keep the others from theirs.
func (v *Volumes) Update(ctx context.Context, config node.VolumeConfig) error {
	if !isName(config.UID) {
		return fmt.Errorf("volumes: the UID %q cannot be the name of a directory", config.UID)
	}
	var failed []error
	for _, spec := range config.Template.Spec.Volumes {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, err)...)
		}
		s := spec.VolumeSource
		if s.ConfigMap == nil && s.Secret == nil && s.DownwardAPI == nil && s.Projected == nil {
			continue
		}
		if _, err := v.write(config, spec, replace); err != nil {
			failed = append(failed, fmt.Errorf("volume %s: %w", spec.Name, err))
		}
	}
	return errors.Join(failed...)
}

func isTrue(b *bool) bool { return b != nil && *b }

// Remove takes away the pod's volumes: mounts first, then the files. It follows no links out of them.
func (v *Volumes) Remove(ctx context.Context, uid string) error {
	if !isName(uid) {
		return fmt.Errorf("volumes: the UID %q cannot be the name of a directory", uid)
	}
	// Parts of volumes are mounted in memory, so that it goes first.
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
