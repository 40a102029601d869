package containerd

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/internal/testimage"
	"headway.dev/headway/node"
)

const showStatus = "grep -E '^(Cap(Eff|Bnd|Inh|Amb)|NoNewPrivs|Seccomp):' /proc/self/status"

// status runs a container and reads what it says of itself.
func (h *host) status(config node.ContainerConfig) map[string]string {
	h.t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(h.output(config)) {
		name, value, _ := strings.Cut(line, ":")
		all[name] = strings.TrimSpace(value)
	}
	return all
}

// bits are capabilities by the kernel's numbers.
func bits(numbers ...uint) string {
	var set uint64
	for _, n := range numbers {
		set |= 1 << n
	}
	return fmt.Sprintf("%016x", set)
}

func TestSecurity(t *testing.T) {
	h := newHost(t)
	s := sandbox(t, "pod")
	// chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod,
	// audit_write, setfcap
	defaults := []uint{0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
	for _, c := range []struct {
		name    string
		context *corev1.SecurityContext
		want    map[string]string
	}{
		{"by-default", nil, map[string]string{"CapEff": bits(defaults...), "CapBnd": bits(defaults...), "CapInh": bits(), "CapAmb": bits(), "NoNewPrivs": "0", "Seccomp": "2"}},
		{"no-escalation", &corev1.SecurityContext{AllowPrivilegeEscalation: new(false)}, map[string]string{"NoNewPrivs": "1"}},
		{"changed", &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"net_admin", "CAP_SYS_TIME"}, Drop: []corev1.Capability{"Chown"}}}, map[string]string{"CapEff": bits(append(defaults[1:], 12, 25)...)}},
		{"few", &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_BIND_SERVICE"}, Drop: []corev1.Capability{"ALL"}}}, map[string]string{"CapEff": bits(10), "CapBnd": bits(10)}},
		{"not-root", &corev1.SecurityContext{RunAsUser: new(int64(1000)), RunAsNonRoot: new(true)}, map[string]string{"CapEff": bits(), "CapBnd": bits(defaults...)}},
		{"unfiltered", &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}}, map[string]string{"Seccomp": "0"}},
		{"privileged", &corev1.SecurityContext{Privileged: new(true)}, map[string]string{"Seccomp": "0"}},
	} {
		config := h.script(s, c.name, showStatus)
		config.Container.SecurityContext = c.context
		got := h.status(config)
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%s: %s is %s, want %s", c.name, name, got[name], want)
			}
		}
	}
	refused := h.script(s, "refused", "true")
	refused.Container.SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NO_SUCH"}}}
	if _, err := h.Create(h.context(), refused); err == nil || !strings.Contains(err.Error(), "CAP_NO_SUCH") {
		t.Errorf("a capability that does not exist: %v", err)
	}
}

func TestFileSystem(t *testing.T) {
	h := newHost(t)
	s := sandbox(t, "pod")
	const script = `
for f in /root.txt /proc/sys/kernel/shm_rmid_forced /sys/fs/cgroup/memory/x /sys/kernel/x /dev/shm/x /tmp/x /mnt/x; do
	if (: > $f) 2>/dev/null; then echo $f; fi
done
head -c 1 /proc/kcore 2>/dev/null | wc -c
[ -e /dev/kmsg ] && echo kmsg`
	config := h.script(s, "plain", script)
	if got, want := h.output(config), "/root.txt\n/dev/shm/x\n/tmp/x\n0\n"; got != want {
		t.Errorf("by default it can write\n%swant\n%s", got, want)
	}
	config = h.script(s, "read-only", script)
	config.Container.SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: new(true)}
	config.Mounts = []node.Mount{{Source: h.dir, Target: "/mnt"}}
	if got, want := h.output(config), "/dev/shm/x\n/mnt/x\n0\n"; got != want {
		t.Errorf("with a root file system that is read only it can write\n%swant\n%s", got, want)
	}
	config = h.script(s, "privileged", "cat /proc/self/mounts | grep -E ' /sys ' | grep -c rw,; ls /dev | wc -l")
	config.Container.SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
	if got := strings.Fields(h.output(config)); len(got) != 2 || got[0] != "1" {
		t.Errorf("privileged: %v", got)
	}
}

func TestUsers(t *testing.T) {
	h := newHost(t)
	s := sandbox(t, "pod")
	files, err := testimage.BusyboxFiles()
	if err != nil {
		t.Fatal(err)
	}
	images := h.options.ImageDir
	for user, want := range map[string]string{
		"":           "0 0 0",
		"web":        "1000 1000 1000 2000",
		"1000":       "1000 1000 1000 2000",
		"web:nobody": "1000 65534 65534 2000",
		"4321":       "4321 0 0",
		"4321:8765":  "4321 8765 8765",
		"nobody":     "65534 65534 65534",
	} {
		i, err := testimage.FromFiles(v1.Config{User: user, Env: []string{"PATH=/bin"}, Cmd: []string{"sh", "-c", "echo $(id -u) $(id -g) $(id -G)"}}, files)
		if err != nil {
			t.Fatal(err)
		}
		name := "headway.test/user:" + strings.ReplaceAll("u"+user, ":", "-")
		if err := testimage.WriteArchive(filepath.Join(images, filepath.Base(name)+".tar"), name, i); err != nil {
			t.Fatal(err)
		}
		h.ensure(name, corev1.PullIfNotPresent)
		config := h.config(s, "u"+strings.ReplaceAll(user, ":", "-"))
		config.Container.Image = name
		if got := strings.TrimSpace(h.output(config)); got != want {
			t.Errorf("user %q: %s, want %s", user, got, want)
		}
	}
	config := h.script(s, "root", "true")
	config.Container.SecurityContext = &corev1.SecurityContext{RunAsNonRoot: new(true)}
	if _, err := h.Create(h.context(), config); err == nil || !strings.Contains(err.Error(), "runAsNonRoot") {
		t.Errorf("root where that is forbidden: %v", err)
	}
	if all, err := h.Containers(h.context()); err != nil || len(all) > 0 {
		t.Errorf("a container that could not be made is left: %v, %v", all, err)
	}
}

// TestUserFilesStayInside has an image whose files point out of it, into the machine's.
func TestUserFilesStayInside(t *testing.T) {
	h := newHost(t)
	files, err := testimage.BusyboxFiles()
	if err != nil {
		t.Fatal(err)
	}
	files["etc/passwd"] = testimage.File{Mode: 0o777 | fs.ModeSymlink, Link: "../../../../../../../../etc/passwd-of-the-machine"}
	files["etc/group"] = testimage.File{Mode: 0o777 | fs.ModeSymlink, Link: "/usr/share/group"}
	files["usr/share/group"] = testimage.Text("inside:x:77:\n")
	i, err := testimage.FromFiles(v1.Config{User: "0:inside", Env: []string{"PATH=/bin"}, Cmd: []string{"sh", "-c", "id -g"}}, files)
	if err != nil {
		t.Fatal(err)
	}
	const name = "headway.test/links:1"
	if err := testimage.WriteArchive(filepath.Join(h.options.ImageDir, "links.tar"), name, i); err != nil {
		t.Fatal(err)
	}
	h.ensure(name, corev1.PullIfNotPresent)
	config := h.config(sandbox(t, "pod"), "a")
	config.Container.Image = name
	if got := h.output(config); got != "77\n" {
		t.Errorf("the group is %q", got)
	}
}

func TestResources(t *testing.T) {
	h := newHost(t)
	// Only what the first version's and the second's files have in common: the container's own view of its group.
	config := h.script(sandbox(t, "pod"), "a", `
cd /sys/fs/cgroup
cat memory/memory.limit_in_bytes memory.max 2>/dev/null
cat cpu/cpu.cfs_quota_us 2>/dev/null || sed 's/ .*//' cpu.max
cat pids/pids.max pids.max 2>/dev/null
cat /proc/self/oom_score_adj`)
	config.Container.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
	}
	config.Spec.Containers[0] = config.Container
	got := strings.Fields(h.output(config))
	want := []string{"67108864", "50000", "4096"}
	if len(got) != 4 || strings.Join(got[:3], " ") != strings.Join(want, " ") {
		t.Fatalf("memory, CPU and processes: %v, want %v", got, want)
	}
	if score := got[3]; score == "0" || strings.HasPrefix(score, "-") {
		t.Errorf("oom_score_adj is %s for a pod that is not guaranteed", score)
	}
}

// TestSeccompLocalhost has a profile of the node forbid one system call.
func TestSeccompLocalhost(t *testing.T) {
	dir := t.TempDir()
	h := newHost(t, func(o *Options) { o.SeccompDir = dir })
	s := sandbox(t, "pod")
	for name, content := range map[string]string{
		"deep/no-mkdir.json": `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}`,
		"broken.json":        `{"defaultAction`, "empty.json": `{}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	with := func(name, profile string) node.ContainerConfig {
		config := h.script(s, name, "mkdir /tmp/new 2>/dev/null && echo made || echo forbidden")
		config.Container.SecurityContext = &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{
			Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &profile,
		}}
		return config
	}
	if got := h.output(with("a", "deep/no-mkdir.json")); got != "forbidden\n" {
		t.Errorf("it says %q", got)
	}
	for profile, want := range map[string]string{
		"none.json": "no such file", "../x.json": "escapes", "/etc/passwd": "escapes", "broken.json": "unexpected end", "empty.json": "no defaultAction",
	} {
		if _, err := h.Create(h.context(), with("b", profile)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("profile %s: got %v, want %q", profile, err, want)
		}
	}
}

func TestAppArmor(t *testing.T) {
	profile := func(kind corev1.AppArmorProfileType) *corev1.AppArmorProfile {
		return &corev1.AppArmorProfile{Type: kind, LocalhostProfile: new("k8s-nginx")}
	}
	r := &Runtime{} // of a kernel without it
	for kind, want := range map[corev1.AppArmorProfileType]string{
		corev1.AppArmorProfileTypeRuntimeDefault: "", corev1.AppArmorProfileTypeUnconfined: "",
		corev1.AppArmorProfileTypeLocalhost: "this machine's kernel has no AppArmor", "Other": `there is no type "Other"`,
	} {
		s := &specs.Spec{Process: &specs.Process{}}
		err := r.setAppArmor(s, profile(kind))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || s.Process.ApparmorProfile != "" {
			t.Errorf("%s: profile %q, %v; want %q", kind, s.Process.ApparmorProfile, err, want)
		}
	}
	const list = "docker-default (enforce)\nk8s nginx (complain)\n"
	for name, want := range map[string]bool{"docker-default": true, "k8s nginx": true, "docker": false, "": false, "k8s": false} {
		if got := listsProfile(list, name); got != want {
			t.Errorf("%q is listed: %v, want %v", name, got, want)
		}
	}
}
