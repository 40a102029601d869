package cdi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const gpus = `
cdiVersion: "0.6.0"
kind: nvidia.com/gpu
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
devices:
- {name: "10", containerEdits: {deviceNodes: [{path: /dev/gpu10, hostPath: /dev/null}]}}
- {name: "2", containerEdits: {env: [A=1, B=2], deviceNodes: [{path: /dev/gpu2, hostPath: /dev/null}], mounts: [{hostPath: /etc/hosts, containerPath: /gpu2, options: [ro, bind]}]}}
- {name: GPU-aaaa, containerEdits: {env: [B=2, A=1], deviceNodes: [{path: /dev/gpu2, hostPath: /dev/null}], mounts: [{hostPath: /etc/hosts, containerPath: /gpu2, options: [ro, bind]}]}}
- {name: all, containerEdits: {deviceNodes: [{path: /dev/gpu2, hostPath: /dev/null}, {path: /dev/gpu10, hostPath: /dev/null}]}}
`

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, log *bytes.Buffer, dirs ...string) *Devices {
	t.Helper()
	options := Options{Dirs: dirs}
	if log != nil {
		options.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	d, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDevices(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	var log bytes.Buffer
	d := open(t, &log, first, second, filepath.Join(first, "absent"))
	if got := d.Devices(); len(got) != 0 {
		t.Errorf("without specifications there are %v", got)
	}
	write(t, first, "gpu.yaml", gpus)
	write(t, first, "dxg.json", `{"cdiVersion": "0.6.0", "kind": "microsoft.com/dxg", "devices": [{"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}]}}]}`)
	write(t, second, "own.yaml", `{cdiVersion: "0.6.0", kind: kubernetes.io/gpu, devices: [{name: a, containerEdits: {env: [A=1]}}]}`)
	write(t, second, "broken.yaml", `{cdiVersion: "0.6.0", kind: `)
	want := map[string][]string{
		"nvidia.com/gpu":    {"nvidia.com/gpu=2", "nvidia.com/gpu=10"},
		"microsoft.com/dxg": {"microsoft.com/dxg=all"},
	}
	for range 2 {
		if got := d.Devices(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if said := log.String(); strings.Count(said, "WARN") != 1 || !strings.Contains(said, "broken.yaml") {
		t.Errorf("it said:\n%s", said)
	}
}

func TestInject(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "gpu.yaml", gpus)
	d := open(t, nil, dir)
	spec := &specs.Spec{Process: &specs.Process{Env: []string{"A=0", "PATH=/bin"}}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	if err := d.Inject(spec, []string{"nvidia.com/gpu=2", "nvidia.com/gpu=10"}); err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, n := range spec.Linux.Devices {
		nodes = append(nodes, fmt.Sprintf("%s %s %d:%d", n.Path, n.Type, n.Major, n.Minor))
	}
	if want := []string{"/dev/gpu2 c 1:3", "/dev/gpu10 c 1:3"}; !slices.Equal(nodes, want) {
		t.Errorf("device nodes %v, want %v", nodes, want)
	}
	slices.Sort(spec.Process.Env)
	if want := []string{"A=1", "B=2", "NVIDIA_VISIBLE_DEVICES=void", "PATH=/bin"}; !slices.Equal(spec.Process.Env, want) {
		t.Errorf("environment %v, want %v", spec.Process.Env, want)
	}
	if len(spec.Mounts) != 1 || spec.Mounts[0].Destination != "/gpu2" {
		t.Errorf("mounts %+v", spec.Mounts)
	}
	for _, test := range []struct{ name, message string }{
		{"nvidia.com/gpu=3", "cdi: nvidia.com/gpu=3: no specification in " + dir + " has such a device"},
		{"gpu", `cdi: "gpu" is not the name of a device: that has the form vendor/class=name`},
	} {
		if err := d.Inject(&specs.Spec{}, []string{test.name}); err == nil || err.Error() != test.message {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestWatch has directories and specifications come, change and go.
func TestWatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "cdi")
	d := open(t, nil, dir)
	ctx, cancel := context.WithCancel(t.Context())
	seen, done := make(chan int, 100), make(chan error, 1)
	go func() { done <- d.Watch(ctx, func() { seen <- len(d.Devices()["nvidia.com/gpu"]) }) }()
	await := func(what string, count int) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			select {
			case got := <-seen:
				if got == count {
					return
				}
			case <-deadline:
				t.Fatalf("%s: %d devices were never seen", what, count)
			}
		}
	}
	await("at first", 0)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "gpu.yaml", gpus)
	await("after the directory came", 2)
	write(t, dir, "more.yaml", `{cdiVersion: "0.6.0", kind: nvidia.com/gpu, devices: [{name: "3", containerEdits: {env: [A=1]}}]}`)
	await("after another specification came", 3)
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	await("after all went", 0)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "gpu.yaml", gpus)
	await("after it came back", 2)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCompareNames(t *testing.T) {
	names := []string{"GPU-b", "10", "0:1", "2", "02", "mig1", "0", "GPU-a", "0:0", "mig10", "mig2"}
	slices.SortFunc(names, compareNames)
	want := []string{"0", "0:0", "0:1", "02", "2", "10", "GPU-a", "GPU-b", "mig1", "mig2", "mig10"}
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
