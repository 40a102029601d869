package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// hostPathMode and hostFileMode are what Kubernetes gives to what it makes on a machine.
const (
	hostPathMode fs.FileMode = 0o755
	hostFileMode fs.FileMode = 0o644
	// claimMode lets any user of any pod write, as local provisioners do: whose the files are is not known.
	claimMode fs.FileMode = 0o777
)

// hostPath checks that a path of the machine is what the volume asks for, and makes it where it says so. Of no type, one
// that is not there becomes a directory.
func hostPath(source *corev1.HostPathVolumeSource) error {
	path, kind := source.Path, corev1.HostPathUnset
	if !filepath.IsAbs(path) {
		return fmt.Errorf("hostPath %q is not an absolute path", path)
	}
	if source.Type != nil {
		kind = *source.Type
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeHostPath(path, kind)
	} else if err != nil {
		return err
	}
	mode := info.Mode()
	is := map[corev1.HostPathType]bool{
		corev1.HostPathUnset:             true,
		corev1.HostPathDirectoryOrCreate: mode.IsDir(),
		corev1.HostPathDirectory:         mode.IsDir(),
		corev1.HostPathFileOrCreate:      mode.IsRegular(),
		corev1.HostPathFile:              mode.IsRegular(),
		corev1.HostPathSocket:            mode.Type() == fs.ModeSocket,
		corev1.HostPathCharDev:           mode.Type() == fs.ModeDevice|fs.ModeCharDevice,
		corev1.HostPathBlockDev:          mode.Type() == fs.ModeDevice,
	}
	fits, known := is[kind]
	switch {
	case !known:
		return fmt.Errorf("hostPath %s: there is no type %q", path, kind)
	case !fits:
		return fmt.Errorf("hostPath %s is not of type %s: its mode is %s", path, kind, mode)
	}
	return nil
}

func makeHostPath(path string, kind corev1.HostPathType) error {
	switch kind {
	case corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate:
		return os.MkdirAll(path, hostPathMode)
	case corev1.HostPathFileOrCreate:
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, hostFileMode)
		if err != nil {
			return err
		}
		return f.Close()
	}
	return fmt.Errorf("hostPath %s does not exist on this machine, and its type is %s", path, kind)
}

// declaredVolume checks that the directory of a declared volume is on this machine.
func declaredVolume(v api.BoundVolume) error {
	err := hostPath(&corev1.HostPathVolumeSource{Path: v.Path, Type: &v.Type})
	if err != nil {
		return fmt.Errorf("the PersistentVolume %s: %w", v.Volume, err)
	}
	return nil
}

// claim makes the directory behind a claim, unless it is there.
func claim(path string) (string, error) {
	if path == "" {
		return "", errors.New("its claim has no directory on this machine")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return "", err
	}
	err := os.Mkdir(path, claimMode)
	if errors.Is(err, fs.ErrExist) {
		return path, nil
	} else if err != nil {
		return "", err
	}
	return path, os.Chmod(path, claimMode) // whatever the umask is
}
