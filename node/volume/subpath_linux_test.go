package volume_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
	"headway.dev/headway/node/volume"
)

// part describes a part of volume e of pod u1.
func part(source, path string) node.SubPath {
	return node.SubPath{UID: "u1", Volume: "e", Source: source, Path: path, Container: "web", Mount: 1}
}

func withVolume(t *testing.T) (v *volume.Volumes, source string) {
	t.Helper()
	v, _ = open(t)
	paths, err := v.Prepare(t.Context(), of("u1", template(empty("e", corev1.EmptyDirVolumeSource{}), config("c", corev1.ConfigMapVolumeSource{})), settings))
	if err != nil {
		t.Fatal(err)
	}
	return v, paths["e"]
}

func TestSubPath(t *testing.T) {
	v, source := withVolume(t)
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("in a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	place, err := v.SubPath(t.Context(), part(source, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(place); err != nil || string(data) != "in a file" {
		t.Errorf("%q, %v", data, err)
	}
	// Another run of the container, for whom the path is missing.
	place, err = v.SubPath(t.Context(), part(source, "new/deep"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(place, "written"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]string{"new": "drwxrwxrwx", "new/deep": "drwxrwxrwx", "new/deep/written": "-rw-------"} {
		if info, err := os.Stat(filepath.Join(source, path)); err != nil || info.Mode().String() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Count(string(mounts), place) != 1 {
		t.Errorf("the part is mounted %d times, %v", strings.Count(string(mounts), place), err)
	}
	if err := v.Remove(t.Context(), "u1"); err != nil {
		t.Fatal(err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), place) {
		t.Errorf("it is still mounted, %v", err)
	}
}

func TestSubPathOfConfig(t *testing.T) {
	v, source := withVolume(t)
	files := part(filepath.Join(filepath.Dir(source), "..", "..", "memory", "u1", "c"), "colour")
	files.ReadOnly = true
	place, err := v.SubPath(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(place); err != nil || string(data) != "red\n" {
		t.Errorf("%q, %v", data, err)
	}
	files.Path = "none"
	if _, err := v.SubPath(t.Context(), files); err == nil || !strings.Contains(err.Error(), "part none of volume e") {
		t.Errorf("a part of what the node writes that is not there: %v", err)
	}
}

func TestSubPathStaysInside(t *testing.T) {
	v, source := withVolume(t)
	outside := t.TempDir()
	for name, target := range map[string]string{"abs": outside, "up": "../../..", "root": "/", "proc": "/proc/self/root"} {
		if err := os.Symlink(target, filepath.Join(source, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(source, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("dir", filepath.Join(source, "inside")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"abs", "up", "root", "proc", "abs/new", "up/etc", "root/etc", "../x", "a/../../x", "/etc"} {
		if place, err := v.SubPath(t.Context(), part(source, path)); err == nil {
			t.Errorf("%s is mounted at %s", path, place)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside of the volume was made %v, %v", entries, err)
	}
	if _, err := v.SubPath(t.Context(), part(source, "inside/made")); err != nil {
		t.Errorf("a link that stays inside: %v", err)
	}
}

// TestSubPathRace has a pod swap a directory for a link to the machine's root while parts of the volume are mounted.
func TestSubPathRace(t *testing.T) {
	v, source := withVolume(t)
	swapped, real := filepath.Join(source, "swapped"), filepath.Join(source, "real")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	marked := filepath.Join(real, "etc")
	if err := os.WriteFile(marked, []byte("the pod's own"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", swapped); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for link := 0; ; link++ {
			select {
			case <-done:
				return
			default:
			}
			target := []string{"real", "/"}[link%2]
			if os.Symlink(target, swapped+".new") == nil {
				_ = os.Rename(swapped+".new", swapped)
			}
		}
	})
	got := 0
	for range 300 {
		place, err := v.SubPath(t.Context(), part(source, "swapped/etc"))
		if err != nil {
			continue
		}
		if data, err := os.ReadFile(place); err != nil || string(data) != "the pod's own" {
			t.Fatalf("the part is not of the volume: %q, %v", data, err)
		}
		got++
	}
	close(done)
	swapping.Wait()
	if got == 0 {
		t.Error("the part was never there: nothing was raced")
	}
}
