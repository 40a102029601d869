package containerd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
	"headway.dev/headway/node/cdi"
	"headway.dev/headway/node/conformance"
)

// widgets are devices that only their specifications make devices.
type widgets struct {
	*supply
	dir string
}

type supply = cdi.Devices

func newWidgets(t *testing.T) widgets {
	t.Helper()
	dir := t.TempDir()
	devices, err := cdi.Open(cdi.Options{Dirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	return widgets{devices, dir}
}

// set writes the specification: each device is a device node, a variable and a mount.
func (w widgets) set(t testing.TB, names ...string) {
	t.Helper()
	path := filepath.Join(w.dir, "widget.yaml")
	if len(names) == 0 {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	note := filepath.Join(w.dir, "note")
	if err := os.WriteFile(note, []byte("of a widget\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var spec strings.Builder
	fmt.Fprintf(&spec, "cdiVersion: \"0.6.0\"\nkind: %s\ncontainerEdits: {env: [WIDGETS=yes]}\ndevices:\n", conformance.Widget)
	for _, name := range names {
		fmt.Fprintf(&spec, `- name: %q
  containerEdits:
    env: [WIDGET_%[1]s=it%[1]s]
    deviceNodes: [{path: "/dev/widget%[1]s", hostPath: /dev/null, permissions: rw}]
    mounts: [{hostPath: %q, containerPath: "/widgets/%[1]s", options: [ro, bind]}]
`, name, note)
	}
	if err := os.WriteFile(path+".new", []byte(spec.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestDevices asks a process in a container what it has of its devices, and of others.
func TestDevices(t *testing.T) {
	w := newWidgets(t)
	w.set(t, "0", "1", "2")
	h := newHost(t, func(o *Options) { o.Devices = w })
	const look = `echo node >/dev/widget0 && test -c /dev/widget2 && ! test -e /dev/widget1 &&
test "$WIDGETS $WIDGET_0 $WIDGET_2 $WIDGET_1" = "yes it0 it2 " &&
test "$(cat /widgets/0 /widgets/2)" = "of a widget
of a widget" && ! echo x 2>/dev/null >/widgets/0`
	uid := "devices"
	config := node.ContainerConfig{
		Sandbox: sandbox(t, uid), LogPath: filepath.Join(t.TempDir(), "log"),
		Devices:   []string{conformance.Widget + "=0", conformance.Widget + "=2"},
		Container: corev1.Container{Name: "look", Image: h.image, Command: []string{"/bin/sh", "-ec", look}},
	}
	config.Pod.UID, config.Pod.Pod.Kind, config.Pod.Pod.Namespace, config.Pod.Pod.Name = uid, "Pod", "test", "devices"
	id, err := h.Create(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	var got node.Container
	h.until("it ends", func() bool {
		all, err := h.Containers(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		got = all[0]
		return got.State == node.ContainerExited
	})
	if log, _ := os.ReadFile(config.LogPath); got.ExitCode != 0 || len(log) > 0 {
		t.Errorf("it did not find its devices: exit code %d\n%s", got.ExitCode, log)
	}
	if strings.Join(got.Devices, " ") != strings.Join(config.Devices, " ") {
		t.Errorf("its labels say %v", got.Devices)
	}

	config.Container.Name, config.Devices = "lost", []string{conformance.Widget + "=9"}
	_, err = h.Create(t.Context(), config)
	if want := conformance.Widget + "=9: no specification in " + w.dir + " has such a device"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
