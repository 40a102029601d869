package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// TestFiles holds a runtime and volumes together to what containers see of their pod's volumes. The host has Volumes, which
// implement all optional abilities. The names of its parts follow those of Kubernetes' tests of storage.
func TestFiles(t *testing.T, open func(t *testing.T) Host) {
	parts := []struct {
		name string
		test func(s *suite)
	}{
		{"EmptyDir", testEmptyDir},
		{"EmptyDirMemory", testEmptyDirMemory},
		{"ConfigMap", testConfigMap},
		{"ConfigMapUpdates", testConfigMapUpdates},
		{"Secrets", testSecrets},
		{"Projected", testProjected},
		{"HostPath", testHostPath},
		{"FSGroup", testFSGroup},
		{"Subpath", testSubpath},
		{"SharedMemory", testSharedMemory},
		{"RecursiveReadOnly", testRecursiveReadOnly},
		{"MountPropagation", testMountPropagation},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.test(newSuite(t, open)) })
	}
}

// A volumePod is a pod with volumes that containers are made in.
type volumePod struct {
	*suite
	sandbox node.Sandbox
	config  node.VolumeConfig
	paths   map[string]string
}

func (s *suite) volumePod(change func(*node.VolumeConfig), volumes ...corev1.Volume) *volumePod {
	s.Helper()
	p := &volumePod{suite: s, sandbox: s.Sandbox(s, s.uid)}
	p.config = node.VolumeConfig{
		UID: s.uid, Template: &api.PodTemplate{Spec: corev1.PodSpec{Volumes: volumes}},
		Configs:  map[string]api.ConfigData{"settings": {Data: map[string]string{"colour": "red\n"}}},
		Secrets:  map[string]api.SecretData{"login": api.NewSecretData(map[string][]byte{"password": []byte("swordfish")})},
		Downward: func(f corev1.DownwardAPIVolumeFile) (string, error) { return f.FieldRef.FieldPath, nil },
	}
	if change != nil {
		change(&p.config)
	}
	s.Cleanup(func() {
		s.removeAll()
		if err := s.Volumes.Remove(s.context(), s.uid); err != nil {
			s.Error(err)
		}
	})
	var err error
	if p.paths, err = s.Volumes.Prepare(s.context(), p.config); err != nil {
		s.Fatal(err)
	}
	return p
}

// container mounts the volumes below /v, by their names.
func (p *volumePod) container(name, script string, readOnly bool) node.ContainerConfig {
	config := p.shell(p.sandbox, name, script)
	config.Spec.SecurityContext = p.config.Template.Spec.SecurityContext
	for volume, path := range p.paths {
		target := "/v/" + volume
		if volume == node.SharedMemory {
			target = volume
		}
		config.Mounts = append(config.Mounts, node.Mount{Source: path, Target: target, ReadOnly: readOnly && target != volume})
	}
	return config
}

// sees runs a script in a container, and compares what it says.
func (p *volumePod) sees(name, script, want string, readOnly bool) {
	p.Helper()
	if got := p.output(p.container(name, script, readOnly)); got != want {
		p.Errorf("%s: it says %q, want %q", name, got, want)
	}
}

func source(name string, s corev1.VolumeSource) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: s}
}

func testEmptyDir(s *suite) {
	p := s.volumePod(nil, source("e", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}))
	p.sees("writes", "stat -c %a /v/e; echo kept >/v/e/file", "777\n", false)
	p.sees("reads", "cat /v/e/file; (: >/v/e/x) 2>/dev/null || echo not to be written", "kept\nnot to be written\n", true)
}

func testEmptyDirMemory(s *suite) {
	p := s.volumePod(nil, source("m", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI),
	}}))
	p.sees("web", "grep -c ' /v/m tmpfs' /proc/mounts; dd if=/dev/zero of=/v/m/big bs=64k count=32 2>/dev/null || echo full", "1\nfull\n", false)
}

func testConfigMap(s *suite) {
	p := s.volumePod(nil, source("c", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, DefaultMode: new(int32(0o440)),
		Items: []corev1.KeyToPath{{Key: "colour", Path: "path/to/colour"}},
	}}))
	p.sees("web", "cd /v/c; cat path/to/colour; stat -L -c %a path/to/colour; ls", "red\n440\npath\n", true)
}

// testConfigMapUpdates changes the files of a running container.
func testConfigMapUpdates(s *suite) {
	p := s.volumePod(nil, source("c", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
	}}))
	config := p.container("web", "cat /v/c/colour; until grep -q blue /v/c/colour; do sleep 0.05; done; cat /v/c/colour", true)
	id := p.run(config)
	p.logged(config, "red\n")
	p.config.Configs = map[string]api.ConfigData{"settings": {Data: map[string]string{"colour": "blue\n"}}}
	if err := s.Volumes.(node.VolumeUpdater).Update(s.context(), p.config); err != nil {
		s.Fatal(err)
	}
	p.exited(id)
	p.logged(config, "red\nblue\n")
}

func testSecrets(s *suite) {
	p := s.volumePod(nil, source("s", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "login", DefaultMode: new(int32(0o400))}}))
	p.sees("web", "cat /v/s/password; echo; stat -L -c %a /v/s/password; grep -c ' /v/s tmpfs' /proc/mounts", "swordfish\n400\n1\n", true)
}

func testProjected(s *suite) {
	p := s.volumePod(nil, source("p", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "login"}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "pod/uid", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.uid"}},
		}}},
	}}}))
	p.sees("web", "cd /v/p; cat colour password pod/uid", "red\nswordfishmetadata.uid", true)
}

func testHostPath(s *suite) {
	dir := filepath.Join(s.dir, "made")
	kind := corev1.HostPathDirectoryOrCreate
	p := s.volumePod(nil, source("h", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: &kind}}))
	p.sees("web", "echo from the pod >/v/h/file", "", false)
	if data, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(data) != "from the pod\n" {
		s.Errorf("on the machine there is %q, %v", data, err)
	}
}

// testFSGroup has a user who is nobody else write to a volume by its group.
func testFSGroup(s *suite) {
	policy := corev1.FSGroupChangeAlways
	p := s.volumePod(func(c *node.VolumeConfig) {
		c.Template.Spec.SecurityContext = &corev1.PodSecurityContext{
			RunAsUser: new(int64(1234)), RunAsGroup: new(int64(1234)), FSGroup: new(int64(5678)), FSGroupChangePolicy: &policy,
		}
	}, source("e", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
		source("s", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "login", DefaultMode: new(int32(0o400))}}))
	p.sees("web", "id -G; : >/v/e/file; stat -c %g /v/e/file; cat /v/s/password", "1234 5678\n5678\nswordfish", false)
}

func testSubpath(s *suite) {
	p := s.volumePod(nil, source("e", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
		source("c", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}))
	mount := func(number int, volume, path, target string) node.Mount {
		s.Helper()
		source, err := s.Volumes.(node.SubPather).SubPath(s.context(), node.SubPath{
			UID: s.uid, Volume: volume, Source: p.paths[volume], Path: path, Container: "web", Mount: number, ReadOnly: volume == "c",
		})
		if err != nil {
			s.Fatal(err)
		}
		return node.Mount{Source: source, Target: target, ReadOnly: volume == "c"}
	}
	config := s.shell(p.sandbox, "web", "echo inside >/deep/file; ls /deep; cat /etc/colour")
	config.Mounts = []node.Mount{mount(0, "e", "a/b", "/deep"), mount(1, "c", "colour", "/etc/colour")}
	if got := s.output(config); got != "file\nred\n" {
		s.Errorf("it says %q", got)
	}
	p.sees("whole", "cat /v/e/a/b/file", "inside\n", true)
}

func testSharedMemory(s *suite) {
	p := s.volumePod(func(c *node.VolumeConfig) { c.Template.Spec.Containers = make([]corev1.Container, 2) })
	p.sees("one", "grep ' /dev/shm ' /proc/mounts | grep -c size=65536k; echo shared >/dev/shm/word", "1\n", false)
	p.sees("two", "cat /dev/shm/word; stat -c %a /dev/shm", "shared\n1777\n", false)
}

// mountBelow mounts a file system with one file at a new directory of the machine.
func (s *suite) mountBelow(dir, name string) string {
	s.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.Fatal(err)
	}
	if err := unix.Mount("none", path, "tmpfs", 0, ""); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			s.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(path, "mounted"), nil, 0o644); err != nil {
		s.Fatal(err)
	}
	return path
}

func testRecursiveReadOnly(s *suite) {
	dir := s.mountBelow(s.dir, "top")
	s.mountBelow(dir, "below")
	sandbox := s.Sandbox(s, s.uid)
	for mode, want := range map[corev1.RecursiveReadOnlyMode]string{
		corev1.RecursiveReadOnlyDisabled: "below\n", corev1.RecursiveReadOnlyEnabled: "", corev1.RecursiveReadOnlyIfPossible: "",
	} {
		config := s.shell(sandbox, strings.ToLower(string(mode)), "(: >/v/x) 2>/dev/null && echo top; (: >/v/below/x) 2>/dev/null && echo below")
		config.Mounts = []node.Mount{{Source: dir, Target: "/v", ReadOnly: true, Recursive: mode}}
		if got := s.output(config); got != want {
			s.Errorf("recursiveReadOnly %s: it can write to %q, want %q", mode, got, want)
		}
	}
}

// testMountPropagation mounts on the machine and in a container, and looks from the other side.
func testMountPropagation(s *suite) {
	dir := s.mountBelow(s.dir, "private")
	sandbox := s.Sandbox(s, s.uid)
	both := func(config *node.ContainerConfig) {
		config.Container.SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
		config.Mounts = []node.Mount{{Source: dir, Target: "/v", Propagation: corev1.MountPropagationBidirectional}}
	}
	s.refuses(sandbox, "private", "make-rshared", both)
	if err := unix.Mount("", dir, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		s.Fatal(err)
	}
	const waits = "echo ready; until [ -e /v/later/mounted ]; do sleep 0.05; done; echo seen"
	slave := s.shell(sandbox, "slave", waits)
	slave.Mounts = []node.Mount{{Source: dir, Target: "/v", Propagation: corev1.MountPropagationHostToContainer}}
	none := s.shell(sandbox, "none", waits)
	none.Mounts = []node.Mount{{Source: dir, Target: "/v"}}
	slaveID, noneID := s.run(slave), s.run(none)
	s.logged(slave, "ready")
	s.logged(none, "ready")
	s.mountBelow(dir, "later")
	s.exited(slaveID)
	s.logged(slave, "seen")
	if c, _ := s.find(noneID); c.State != node.ContainerRunning {
		s.Error("a mount reached a container that asked for none")
	}
	if err := os.Mkdir(filepath.Join(dir, "pods"), 0o755); err != nil {
		s.Fatal(err)
	}
	s.says(sandbox, "shared", "mount -t tmpfs none /v/pods && : >/v/pods/made", "", both)
	if _, err := os.Stat(filepath.Join(dir, "pods", "made")); err != nil {
		s.Errorf("what the container mounted is not on the machine: %v", err)
	}
}
