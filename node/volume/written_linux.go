package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// A file of a volume that the node writes.
type file struct {
	path string // within the volume
	data []byte
	mode fs.FileMode
}

// write writes the files of a volume that pods only read.
func (v *Volumes) write(config node.VolumeConfig, spec corev1.Volume, when overwrite) (string, error) {
	s := sources{config: config}
	switch source := spec.VolumeSource; {
	case source.ConfigMap != nil:
		s.configMap(source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.DefaultMode, source.ConfigMap.Optional)
	case source.Secret != nil:
		s.secret(source.Secret.SecretName, source.Secret.Items, source.Secret.DefaultMode, source.Secret.Optional)
	case source.DownwardAPI != nil:
		s.downward(source.DownwardAPI.Items, source.DownwardAPI.DefaultMode)
	case source.Projected != nil:
		s.projected(source.Projected)
	default:
		return "", errors.New("only configMap, secret, downwardAPI, projected, emptyDir, hostPath and persistentVolumeClaim are supported")
	}
	if err := errors.Join(s.failed...); err != nil {
		return "", err
	}
	if err := check(s.files); err != nil {
		return "", err
	}
	if s.secrets {
		if err := inMemory(v.memory); err != nil {
			return "", err
		}
	}
	w := writer{dir: filepath.Join(v.memory, config.UID, spec.Name), group: fsGroup(config.Template)}
	return w.dir, w.write(s.files, when)
}

// inMemory refuses a directory where a secret would come to a disk.
func inMemory(dir string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return err
	}
	if s.Type != unix.TMPFS_MAGIC && s.Type != unix.RAMFS_MAGIC {
		return fmt.Errorf("%s is not in memory, and a secret must not come to a disk: mount a tmpfs there", dir)
	}
	return nil
}

// sources gather the files of a volume, and what is wrong with them.
type sources struct {
	config  node.VolumeConfig
	files   []file
	secrets bool // some come from secrets
	failed  []error
}

func (s *sources) fail(format string, args ...any) {
	s.failed = append(s.failed, fmt.Errorf(format, args...))
}

func (s *sources) configMap(name string, items []corev1.KeyToPath, mode *int32, optional *bool) {
	config, found := s.config.Configs[name]
	data := make(map[string][]byte, len(config.Data)+len(config.BinaryData))
	maps.Copy(data, config.BinaryData)
	for key, text := range config.Data {
		data[key] = []byte(text)
	}
	s.add("config map "+name, data, found, items, mode, optional)
}

func (s *sources) secret(name string, items []corev1.KeyToPath, mode *int32, optional *bool) {
	secret, found := s.config.Secrets[name]
	s.secrets = s.secrets || found
	s.add("secret "+name, secret.Reveal(), found, items, mode, optional)
}

// add takes one file for each key, or one for each of the items.
func (s *sources) add(what string, data map[string][]byte, found bool, items []corev1.KeyToPath, mode *int32, optional *bool) {
	if !found {
		if !isTrue(optional) {
			s.fail("there is no %s", what)
		}
		return
	}
	if len(items) == 0 {
		for _, key := range slices.Sorted(maps.Keys(data)) {
			s.files = append(s.files, file{key, data[key], modeOf(nil, mode)})
		}
		return
	}
	for _, item := range items {
		content, found := data[item.Key]
		switch {
		case found:
			s.files = append(s.files, file{item.Path, content, modeOf(item.Mode, mode)})
		case !isTrue(optional):
			s.fail("%s has no key %s; it has %s", what, item.Key, strings.Join(slices.Sorted(maps.Keys(data)), ", "))
		}
	}
}

func (s *sources) downward(items []corev1.DownwardAPIVolumeFile, mode *int32) {
	for _, item := range items {
		if s.config.Downward == nil {
			s.fail("file %s: nothing is known of the pod", item.Path)
			continue
		}
		content, err := s.config.Downward(item)
		if err != nil {
			s.failed = append(s.failed, err)
			continue
		}
		s.files = append(s.files, file{item.Path, []byte(content), modeOf(item.Mode, mode)})
	}
}

// projected joins several sources. Of two files of a path the last counts, as for Kubernetes.
func (s *sources) projected(p *corev1.ProjectedVolumeSource) {
	for _, source := range p.Sources {
		switch {
		case source.ConfigMap != nil:
			s.configMap(source.ConfigMap.Name, source.ConfigMap.Items, p.DefaultMode, source.ConfigMap.Optional)
		case source.Secret != nil:
			s.secret(source.Secret.Name, source.Secret.Items, p.DefaultMode, source.Secret.Optional)
		case source.DownwardAPI != nil:
			s.downward(source.DownwardAPI.Items, p.DefaultMode)
		case source.ServiceAccountToken != nil:
			s.fail("serviceAccountToken: there is no API server that a token would open: remove the source")
		default:
			s.fail("only configMap, secret and downwardAPI are supported as sources")
		}
	}
}

func modeOf(own, volume *int32) fs.FileMode {
	switch {
	case own != nil:
		return fs.FileMode(*own)
	case volume != nil:
		return fs.FileMode(*volume)
	}
	return fs.FileMode(corev1.ConfigMapVolumeSourceDefaultMode)
}

// check refuses files that would not be in the volume, or that hide the writer's own.
func check(files []file) error {
	for i, f := range files {
		path := filepath.Clean(f.path)
		switch first, _, _ := strings.Cut(path, "/"); {
		case !filepath.IsLocal(path) || path == "." || strings.Contains(path, "\x00"):
			return fmt.Errorf("the path %q leads out of the volume", f.path)
		case strings.HasPrefix(first, ".."):
			return fmt.Errorf("the path %q must not begin with two dots", f.path)
		case f.mode&^fs.ModePerm != 0:
			return fmt.Errorf("the mode %o of %s is more than permissions", f.mode, f.path)
		}
		files[i].path = path
	}
	return nil
}

// fsGroup is the group that the pod's volumes belong to; nil is none.
func fsGroup(t *api.PodTemplate) *int64 {
	if t.Spec.SecurityContext == nil {
		return nil
	}
	return t.Spec.SecurityContext.FSGroup
}
