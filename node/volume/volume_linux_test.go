package volume_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/volume"
)

func open(t testing.TB) (*volume.Volumes, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "volumes")
	memory := filepath.Join(filepath.Dir(dir), "memory")
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if err := volume.MountMemory(memory); err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(dir, memory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		removeAll(t, v)
		if err := volume.UnmountMemory(memory); err != nil {
			t.Error(err)
		}
	})
	return v, dir
}

// removeAll removes the volumes of all pods.
func removeAll(t interface{ Error(...any) }, v *volume.Volumes) {
	uids, err := v.Pods(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, uid := range uids {
		if err := v.Remove(context.Background(), uid); err != nil {
			t.Error(err)
		}
	}
}

// of is a pod of a UID and template.
func of(uid string, t *api.PodTemplate, configs map[string]api.ConfigData) node.VolumeConfig {
	return node.VolumeConfig{UID: uid, Template: t, Configs: configs}
}

func template(volumes ...corev1.Volume) *api.PodTemplate {
	return &api.PodTemplate{Spec: corev1.PodSpec{Volumes: volumes}}
}

func config(name string, source corev1.ConfigMapVolumeSource) corev1.Volume {
	source.Name = "settings"
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &source}}
}

func empty(name string, source corev1.EmptyDirVolumeSource) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &source}}
}

var settings = map[string]api.ConfigData{"settings": {
	Data: map[string]string{"colour": "red\n", "app.conf": "port=80\n"}, BinaryData: map[string][]byte{"logo": {0, 1, 0xff}},
}}

// A failer is a test, of go or of rapid.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// files gives path, mode and content of all files below a directory, as a pod sees them: links are followed, and what
// begins with two dots is left out.
func files(t failer, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	var look func(path, name string)
	look = func(path, name string) {
		entries, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			here := filepath.Join(path, e.Name())
			info, err := os.Stat(here)
			switch {
			case strings.HasPrefix(e.Name(), ".."):
			case err != nil:
				t.Fatal(err)
			case info.IsDir():
				look(here, filepath.Join(name, e.Name()))
			default:
				data, err := os.ReadFile(here)
				if err != nil {
					t.Fatal(err)
				}
				all[filepath.Join(name, e.Name())] = info.Mode().String() + " " + string(data)
			}
		}
	}
	look(dir, "")
	return all
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func TestConfigMap(t *testing.T) {
	// Whatever mask the daemon was started with.
	defer syscall.Umask(syscall.Umask(0o077))
	v, dir := open(t)
	spec := template(
		config("all", corev1.ConfigMapVolumeSource{}),
		config("some", corev1.ConfigMapVolumeSource{DefaultMode: new(int32(0o440)), Items: []corev1.KeyToPath{
			{Key: "colour", Path: "deep/er/colour.txt"}, {Key: "logo", Path: "logo.png", Mode: new(int32(0o755))},
		}}),
	)
	paths, err := v.Prepare(t.Context(), of("u1", spec, settings))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]string{
		"all":  {"colour": "-rw-r--r-- red\n", "app.conf": "-rw-r--r-- port=80\n", "logo": "-rw-r--r-- \x00\x01\xff"},
		"some": {"deep/er/colour.txt": "-r--r----- red\n", "logo.png": "-rwxr-xr-x \x00\x01\xff"},
	} {
		if paths[name] != filepath.Join(filepath.Dir(dir), "memory", "u1", name) {
			t.Errorf("volume %s is at %s", name, paths[name])
		}
		if got := files(t, paths[name]); !same(got, want) {
			t.Errorf("volume %s: got %q, want %q", name, got, want)
		}
	}
	if info, err := os.Stat(filepath.Join(paths["some"], "deep", "er")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("a directory on the way to a file: %v, %v", info.Mode(), err)
	}

	// A pod's config maps never change under it.
	changed := map[string]api.ConfigData{"settings": {Data: map[string]string{"colour": "blue", "logo": "x"}}}
	before := files(t, filepath.Dir(dir))
	if _, err := v.Prepare(t.Context(), of("u1", spec, changed)); err != nil {
		t.Fatal(err)
	}
	if after := files(t, filepath.Dir(dir)); !same(before, after) {
		t.Errorf("prepared again, %q became %q", before, after)
	}
}

// TestHalfWritten asks that what a crash left of a volume is neither taken for the volume nor in its way.
func TestHalfWritten(t *testing.T) {
	v, dir := open(t)
	path := filepath.Join(filepath.Dir(dir), "memory", "u1", "all")
	for _, half := range []string{"..0123456789abcdef", "..data_new"} {
		if err := os.MkdirAll(filepath.Join(path, half, "old"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := v.Prepare(t.Context(), of("u1", template(config("all", corev1.ConfigMapVolumeSource{})), settings))
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, paths["all"]); len(got) != 3 || got["old"] != "" {
		t.Errorf("got %q", got)
	}
	if left, err := filepath.Glob(filepath.Join(path, "..*")); err != nil || len(left) != 2 {
		t.Errorf("beside the files there are %v, %v", left, err)
	}
}

func TestRefusals(t *testing.T) {
	v, dir := open(t)
	item := func(key, path string) corev1.Volume {
		return config("v", corev1.ConfigMapVolumeSource{Items: []corev1.KeyToPath{{Key: key, Path: path}}})
	}
	other := config("v", corev1.ConfigMapVolumeSource{})
	other.ConfigMap.Name = "none"
	for want, spec := range map[string]corev1.Volume{
		"has no key color; it has app.conf, colour, logo": item("color", "x"),
		`"../x" leads out of the volume`:                  item("colour", "../x"),
		`"/etc/passwd" leads out of the volume`:           item("colour", "/etc/passwd"),
		`"a/../.." leads out of the volume`:               item("colour", "a/../.."),
		"there is no config map none":                     other,
		"only configMap, secret, downwardAPI":             {Name: "v", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}},
		`"..x" must not begin with two dots`:              item("colour", "..x"),
		`medium "HugePages" is not supported`:             empty("v", corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumHugePages}),
		"more than permissions":                           config("v", corev1.ConfigMapVolumeSource{DefaultMode: new(int32(0o4755))}),
		"cannot be that of a directory":                   {Name: "../v"},
	} {
		if _, err := v.Prepare(t.Context(), of("u1", template(spec), settings)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, uid := range []string{"", ".", "..", "../x", "a/b"} {
		if _, err := v.Prepare(t.Context(), of(uid, template(), nil)); err == nil {
			t.Errorf("volumes were made for the UID %q", uid)
		}
		if err := v.Remove(t.Context(), uid); err == nil {
			t.Errorf("volumes were removed for the UID %q", uid)
		}
	}
	if _, err := volume.Open("relative", "/memory"); err == nil {
		t.Error("a relative directory was taken")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

func TestOptional(t *testing.T) {
	v, _ := open(t)
	missing := config("map", corev1.ConfigMapVolumeSource{Optional: new(true)})
	missing.ConfigMap.Name = "none"
	key := config("key", corev1.ConfigMapVolumeSource{Optional: new(true), Items: []corev1.KeyToPath{{Key: "none", Path: "x"}, {Key: "colour", Path: "y"}}})
	paths, err := v.Prepare(t.Context(), of("u1", template(missing, key), settings))
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, paths["map"]); len(got) != 0 {
		t.Errorf("a config map that is not there has files: %q", got)
	}
	if got := files(t, paths["key"]); len(got) != 1 || got["y"] == "" {
		t.Errorf("got %q", got)
	}
}

func TestEmptyDir(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	v, _ := open(t)
	spec := template(empty("disk", corev1.EmptyDirVolumeSource{}), corev1.Volume{Name: "plain"})
	paths, err := v.Prepare(t.Context(), of("u1", spec, nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range paths {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o777 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if err := os.WriteFile(filepath.Join(path, "kept"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Prepare(t.Context(), of("u1", spec, nil)); err != nil {
		t.Fatal(err)
	}
	for name, path := range paths {
		if _, err := os.Stat(filepath.Join(path, "kept")); err != nil {
			t.Errorf("%s: prepared again, it lost a file: %v", name, err)
		}
	}
}

func TestMemory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	v, dir := open(t)
	spec := template(empty("fast", corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI)}))
	paths, err := v.Prepare(t.Context(), of("u1", spec, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Remove(context.Background(), "u1"); err != nil {
			t.Error(err)
		}
	})
	kept := filepath.Join(paths["fast"], "kept")
	if err := os.WriteFile(kept, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(paths["fast"], "big"), make([]byte, 2<<20), 0o600); err == nil {
		t.Error("more than the size limit fits in")
	}
	var info syscall.Statfs_t
	const tmpfsMagic = 0x01021994
	if err := syscall.Statfs(paths["fast"], &info); err != nil || info.Type != tmpfsMagic {
		t.Errorf("its file system is %x, %v", info.Type, err)
	}
	if mode, err := os.Stat(paths["fast"]); err != nil || mode.Mode().Perm() != 0o777 {
		t.Errorf("%v, %v", mode.Mode(), err)
	}
	again, err := volume.Open(dir, filepath.Join(dir, "..", "memory"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Prepare(t.Context(), of("u1", spec, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("prepared again, it lost a file: %v", err)
	}
	// Somebody still uses it.
	open, err := os.Open(kept)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := again.Remove(t.Context(), "u1"); err != nil {
		t.Fatal(err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("a mount is left, %v", err)
	}
}

func TestRemove(t *testing.T) {
	v, _ := open(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"u1", "u2"} {
		paths, err := v.Prepare(t.Context(), of(uid, template(empty("disk", corev1.EmptyDirVolumeSource{})), nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(paths["disk"], "link")); err != nil {
			t.Fatal(err)
		}
	}
	if uids, err := v.Pods(t.Context()); err != nil || strings.Join(uids, " ") != "u1 u2" {
		t.Errorf("pods with volumes: %v, %v", uids, err)
	}
	for range 2 {
		if err := v.Remove(t.Context(), "u1"); err != nil {
			t.Error(err)
		}
	}
	if uids, err := v.Pods(t.Context()); err != nil || strings.Join(uids, " ") != "u2" {
		t.Errorf("pods with volumes: %v, %v", uids, err)
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Errorf("removing followed a link: %v", err)
	}
}

// TestNothingEscapes asks of any keys and paths that all files are within the volume, or that none are made at all.
func TestNothingEscapes(t *testing.T) {
	part := rapid.SampledFrom([]string{"..", ".", "", "a", "b", "/", "c.d", "\x00", "~", "..a"})
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		v, err := volume.Open(filepath.Join(dir, "volumes"), filepath.Join(dir, "memory"))
		if err != nil {
			rt.Fatal(err)
		}
		data := api.ConfigData{Data: map[string]string{}}
		source := corev1.ConfigMapVolumeSource{}
		for range rapid.IntRange(1, 3).Draw(rt, "files") {
			path := strings.Join(rapid.SliceOfN(part, 1, 5).Draw(rt, "path"), "/")
			data.Data[path] = "x"
			if rapid.Bool().Draw(rt, "item") {
				source.Items = append(source.Items, corev1.KeyToPath{Key: path, Path: path})
			}
		}
		defer removeAll(rt, v)
		_, failed := v.Prepare(t.Context(), of("u1", template(config("v", source)), map[string]api.ConfigData{"settings": data}))
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			inside := strings.HasPrefix(path, filepath.Join(dir, "memory", "u1", "v")+"/")
			switch {
			case err != nil:
				return err
			case !d.IsDir() && !inside:
				rt.Fatalf("a file was made at %s", path)
			case inside && d.Name() == "..data" && failed != nil:
				rt.Fatalf("the volume is there after the error %v", failed)
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}
