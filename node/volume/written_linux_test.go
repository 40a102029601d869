package volume_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/volume"
)

func secret(name string, source corev1.SecretVolumeSource) corev1.Volume {
	source.SecretName = "login"
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &source}}
}

// logins are secrets with a user and a password.
func logins(password string) map[string]api.SecretData {
	return map[string]api.SecretData{"login": api.NewSecretData(map[string][]byte{"user": []byte("ann"), "password": []byte(password)})}
}

// told is a downward API that gives the field's own name.
func told(f corev1.DownwardAPIVolumeFile) (string, error) {
	if f.FieldRef == nil {
		return "", errors.New("nothing is known of resources")
	}
	return f.FieldRef.FieldPath, nil
}

func down(path, field string) corev1.DownwardAPIVolumeFile {
	return corev1.DownwardAPIVolumeFile{Path: path, FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}
}

func TestSecretVolume(t *testing.T) {
	v, dir := open(t)
	spec := template(secret("all", corev1.SecretVolumeSource{DefaultMode: new(int32(0o400))}),
		secret("one", corev1.SecretVolumeSource{Items: []corev1.KeyToPath{{Key: "password", Path: "db/pass", Mode: new(int32(0o640))}}}))
	config := of("u1", spec, nil)
	config.Secrets = logins("swordfish")
	paths, err := v.Prepare(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]string{
		"all": {"user": "-r-------- ann", "password": "-r-------- swordfish"},
		"one": {"db/pass": "-rw-r----- swordfish"},
	} {
		if got := files(t, paths[name]); !same(got, want) {
			t.Errorf("volume %s: got %q, want %q", name, got, want)
		}
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("on the disk are %q", got)
	}
	config.UID, config.Secrets = "u2", nil
	if _, err := v.Prepare(t.Context(), config); err == nil || !strings.Contains(err.Error(), "there is no secret login") {
		t.Errorf("got %v", err)
	}
}

// TestSecretsNeedMemory asks that no secret is written where it would come to a disk.
func TestSecretsNeedMemory(t *testing.T) {
	_, dir := open(t)
	onDisk, err := volume.Open(dir, filepath.Join(dir, "..", "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, onDisk) })
	config := of("u1", template(secret("v", corev1.SecretVolumeSource{})), nil)
	config.Secrets = logins("swordfish")
	if _, err := onDisk.Prepare(t.Context(), config); err == nil || !strings.Contains(err.Error(), "must not come to a disk") {
		t.Errorf("got %v", err)
	}
}

func TestDownwardAndProjected(t *testing.T) {
	v, _ := open(t)
	name := corev1.LocalObjectReference{Name: "settings"}
	spec := template(
		corev1.Volume{Name: "down", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			Items: []corev1.DownwardAPIVolumeFile{down("pod/name", "metadata.name"), down("labels", "metadata.labels")},
		}}},
		corev1.Volume{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: new(int32(0o440)),
			Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: name, Items: []corev1.KeyToPath{{Key: "colour", Path: "c/colour"}}}},
				{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "login"}}},
				{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{down("c/uid", "metadata.uid")}}},
			},
		}}},
	)
	config := of("u1", spec, settings)
	config.Secrets, config.Downward = logins("swordfish"), told
	paths, err := v.Prepare(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]string{
		"down": {"pod/name": "-rw-r--r-- metadata.name", "labels": "-rw-r--r-- metadata.labels"},
		"all":  {"c/colour": "-r--r----- red\n", "c/uid": "-r--r----- metadata.uid", "user": "-r--r----- ann", "password": "-r--r----- swordfish"},
	} {
		if got := files(t, paths[name]); !same(got, want) {
			t.Errorf("volume %s: got %q, want %q", name, got, want)
		}
	}
	token := template(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}},
	}}})
	if _, err := v.Prepare(t.Context(), of("u2", token, nil)); err == nil || !strings.Contains(err.Error(), "there is no API server") {
		t.Errorf("got %v", err)
	}
}

// TestUpdate changes files under a reader, who must never see some of them old and some new.
func TestUpdate(t *testing.T) {
	v, _ := open(t)
	spec := template(config("c", corev1.ConfigMapVolumeSource{}), empty("e", corev1.EmptyDirVolumeSource{}))
	at := func(n int) node.VolumeConfig {
		data := map[string]string{"a": fmt.Sprint(n), "b": fmt.Sprint(n), "dir": "same", fmt.Sprintf("only-%d", n): ""}
		return of("u1", spec, map[string]api.ConfigData{"settings": {Data: data}})
	}
	paths, err := v.Prepare(t.Context(), at(0))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for reads := 0; ; reads++ {
			select {
			case <-done:
				return
			default:
			}
			// As a careful program does it: the directory is held, and then read.
			data, err := os.OpenRoot(filepath.Join(paths["c"], "..data"))
			if err != nil {
				t.Error(err)
				return
			}
			a, errA := data.ReadFile("a")
			b, errB := data.ReadFile("b")
			_ = data.Close()
			if errA == nil && errB == nil && string(a) != string(b) {
				t.Errorf("a is %s and b is %s", a, b)
			}
			if _, err := os.ReadFile(filepath.Join(paths["c"], "a")); err != nil {
				t.Errorf("a file was away: %v", err)
			}
		}
	})
	const last = 200
	for n := 1; n <= last; n++ {
		if err := v.Update(t.Context(), at(n)); err != nil {
			t.Error(err)
		}
	}
	close(done)
	reading.Wait()
	want := fmt.Sprintf("a b dir only-%d", last)
	var names []string
	entries, err := os.ReadDir(paths["c"])
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") {
			names = append(names, e.Name())
		}
	}
	if got := strings.Join(names, " "); err != nil || got != want || len(entries) != len(names)+2 {
		t.Errorf("the volume holds %s and %d hidden ones, %v; want %s", got, len(entries)-len(names), err, want)
	}
	// The same content again writes nothing.
	before, _ := os.Readlink(filepath.Join(paths["c"], "..data"))
	info, _ := os.Stat(filepath.Join(paths["c"], "a"))
	if err := v.Update(t.Context(), at(last)); err != nil {
		t.Fatal(err)
	}
	again, _ := os.Stat(filepath.Join(paths["c"], "a"))
	if after, _ := os.Readlink(filepath.Join(paths["c"], "..data")); after != before || !os.SameFile(info, again) {
		t.Error("unchanged files were written again")
	}
	bad := at(last)
	bad.Configs = nil
	if err := v.Update(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "volume c: there is no config map settings") {
		t.Errorf("got %v", err)
	}
	if got := files(t, paths["c"]); len(got) != 4 {
		t.Errorf("after an update that failed it holds %q", got)
	}
}
