package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"headway.dev/headway/api"
	corev1 "k8s.io/api/core/v1"
)

// A file of a config map's volume.
type file struct {
	path string
	data []byte
	mode fs.FileMode
}

// halfMade ends the name of a volume that is being written. No volume's name has a dot.
const halfMade = ".new"

// writeConfig writes the files of a config map beside their place and then moves them there at once: what has the
// volume's name is whole.
func writeConfig(path string, source *corev1.ConfigMapVolumeSource, config api.ConfigData) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	files, err := configFiles(source, config)
	if err != nil {
		return err
	}
	half := path + halfMade
	if err := os.RemoveAll(half); err != nil { // of an earlier, cut-off attempt
		return err
	}
	if err := os.Mkdir(half, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(half)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		if err := f.write(root); err != nil {
			return fmt.Errorf("config map %s: %w", source.Name, err)
		}
	}
	if err := root.Chmod(".", 0o755); err != nil { // whatever the umask is
		return err
	}
	return os.Rename(half, path)
}

// write makes a file below root, which nothing in its path can lead out of.
func (f file) write(root *os.Root) error {
	if dir := filepath.Dir(f.path); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for ; dir != "."; dir = filepath.Dir(dir) {
			if err := root.Chmod(dir, 0o755); err != nil {
				return err
			}
		}
	}
	if err := root.WriteFile(f.path, f.data, 0o600); err != nil {
		return err
	}
	return root.Chmod(f.path, f.mode)
}

// configFiles gives the files of the volume in order: one for each key, or one for each of the items.
func configFiles(source *corev1.ConfigMapVolumeSource, config api.ConfigData) ([]file, error) {
	mode := fs.FileMode(corev1.ConfigMapVolumeSourceDefaultMode)
	if source.DefaultMode != nil {
		mode = fs.FileMode(*source.DefaultMode)
	}
	var files []file
	for _, item := range source.Items {
		data, found := content(config, item.Key)
		if !found && isTrue(source.Optional) {
			continue
		}
		if !found {
			return nil, fmt.Errorf("config map %s has no key %s; it has %s", source.Name, item.Key, strings.Join(keys(config), ", "))
		}
		f := file{path: item.Path, data: data, mode: mode}
		if item.Mode != nil {
			f.mode = fs.FileMode(*item.Mode)
		}
		files = append(files, f)
	}
	if len(source.Items) == 0 {
		for _, key := range keys(config) {
			data, _ := content(config, key)
			files = append(files, file{path: key, data: data, mode: mode})
		}
	}
	for i, f := range files {
		if !filepath.IsLocal(f.path) || filepath.Clean(f.path) == "." {
			return nil, fmt.Errorf("config map %s: the path %q leads out of the volume", source.Name, f.path)
		}
		if f.mode&^fs.ModePerm != 0 {
			return nil, fmt.Errorf("config map %s: the mode %o of %s is more than permissions", source.Name, f.mode, f.path)
		}
		files[i].path = filepath.Clean(f.path)
	}
	return files, nil
}

func content(config api.ConfigData, key string) ([]byte, bool) {
	if s, found := config.Data[key]; found {
		return []byte(s), true
	}
	data, found := config.BinaryData[key]
	return data, found
}

// keys are all keys of a config map, in order.
func keys(config api.ConfigData) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(config.Data)), maps.Keys(config.BinaryData))
	slices.Sort(all)
	return slices.Compact(all)
}
