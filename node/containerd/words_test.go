package containerd

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
)

func TestInWords(t *testing.T) {
	const (
		snapshots = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/157/fs"
		bundle    = "/run/containerd/io.containerd.runtime.v2.task/headway/9f75dec6.app.0"
		volumes   = "/var/lib/headway/node/volumes/9f75dec6-9a29-81bf-8f8e-cd797d5b095c"
	)
	config := node.ContainerConfig{
		Container: corev1.Container{VolumeMounts: []corev1.VolumeMount{
			{Name: "work", MountPath: "/etc/passwd"}, {Name: "machine", MountPath: "/data/"}, {Name: "part", MountPath: "/part", SubPath: "a"},
		}},
		Spec: &corev1.PodSpec{Volumes: []corev1.Volume{
			{Name: "machine", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/data"}}},
		}},
		Mounts: []node.Mount{
			{Source: volumes + "/work", Target: "/etc/passwd"},
			{Source: "/srv/data", Target: "/data"},
			{Source: "/run/headway/node/pods/9f75dec6/etc/hosts", Target: "/etc/hosts"},
			{Source: volumes + "/work/a", Target: "/part"},
		},
	}
	for _, c := range []struct{ said, want string }{
		{
			`OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting "` + volumes + `/work" to rootfs at "/etc/passwd": mount ` + volumes + `/work:/etc/passwd (via /proc/self/fd/6), flags: 0x5000: not a directory: unknown`,
			`OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting "volume work" to rootfs at "/etc/passwd": mount volume work:/etc/passwd, flags: 0x5000: not a directory`,
		},
		{`error mounting "/srv/data" to rootfs at "/data": no such file`, `error mounting "/srv/data" to rootfs at "/data": no such file`},
		{`error mounting "/run/headway/node/pods/9f75dec6/etc/hosts" to rootfs at "/etc/hosts"`, `error mounting "the node's hosts" to rootfs at "/etc/hosts"`},
		{`error mounting "` + volumes + `/work/a" to rootfs at "/part"`, `error mounting "volume part" to rootfs at "/part"`},
		{
			`failed to extract layer (tar sha256:c60bce77) to overlayfs as "extract-516942701-FCpA sha256:f464c849": link ` + snapshots + `/etc/shadow ` + snapshots + `/shadow: no such file or directory`,
			`failed to extract layer (tar sha256:c60bce77): link /etc/shadow /shadow: no such file or directory`,
		},
		{`error mounting "proc" to rootfs at "/proc": open ` + bundle + `/rootfs/proc: permission denied: unknown`, `error mounting "proc" to rootfs at "/proc": open /proc: permission denied`},
		{`open ` + bundle + `/config.json: no such file or directory`, `open config.json: no such file or directory`},
		{`open /run/containerd/runc/headway/9f75dec6.app.0/state.json: no such file`, `open state.json: no such file`},
		{`exec: "/bin/none": stat /bin/none: no such file or directory`, `exec: "/bin/none": stat /bin/none: no such file or directory`},
		{`host unknown: the registry is away`, `host unknown: the registry is away`},
	} {
		cause := errors.New("cause")
		got := inWords(fmt.Errorf("%s%w", c.said, &hidden{cause}), mountWords(config)...)
		if got.Error() != c.want || !errors.Is(got, cause) {
			t.Errorf("of %s\ngot  %s\nwant %s", c.said, got, c.want)
		}
	}
	if inWords(nil) != nil {
		t.Error("of no error one is made")
	}
}

// hidden has no words of its own.
type hidden struct{ error }

func (h *hidden) Error() string { return "" }
func (h *hidden) Unwrap() error { return h.error }
