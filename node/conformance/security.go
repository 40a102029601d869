package conformance

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/node"
)

// TestSecurity holds a runtime to what security contexts and the pod's namespaces mean. It needs a real kernel. The names
// of its parts follow those of Kubernetes' node tests.
func TestSecurity(t *testing.T, open func(t *testing.T) Host) {
	parts := []struct {
		name string
		test func(s *suite)
	}{
		{"RunAsUser", testRunAsUser},
		{"RunAsNonRoot", testRunAsNonRoot},
		{"SupplementalGroups", testSupplementalGroups},
		{"Capabilities", testCapabilities},
		{"AllowPrivilegeEscalation", testEscalation},
		{"ReadOnlyRootFilesystem", testReadOnlyRoot},
		{"Privileged", testPrivileged},
		{"ProcMount", testProcMount},
		{"SeccompProfile", testSeccomp},
		{"Sysctls", testSysctls},
		{"HostNetwork", testHostNetwork},
		{"HostPID", testHostPID},
		{"HostIPC", testHostIPC},
		{"ShareProcessNamespace", testShareProcesses},
		{"HostUsers", testHostUsers},
		{"HugePages", testHugePages},
		{"Swap", testSwap},
		{"WorkingDir", testWorkingDir},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.test(newSuite(t, open)) })
	}
}

// output runs a container to its end and gives its log.
func (s *suite) output(config node.ContainerConfig) string {
	s.Helper()
	id := s.run(config)
	s.exited(id)
	if err := s.Runtime.Remove(s.context(), id); err != nil { // which waits for the log
		s.Fatal(err)
	}
	log, err := os.ReadFile(config.LogPath)
	if err != nil {
		s.Fatal(err)
	}
	return string(log)
}

// says runs a script in a container of its own, and compares what it says.
func (s *suite) says(sandbox node.Sandbox, name, script, want string, change func(*node.ContainerConfig)) {
	s.Helper()
	config := s.shell(sandbox, name, script)
	change(&config)
	if got := s.output(config); got != want {
		s.Errorf("%s: it says %q, want %q", name, got, want)
	}
}

// refuses expects that a container cannot be made, and why.
func (s *suite) refuses(sandbox node.Sandbox, name, why string, change func(*node.ContainerConfig)) {
	s.Helper()
	config := s.shell(sandbox, name, "true")
	change(&config)
	id, err := s.Runtime.Create(s.context(), config)
	if err == nil || !strings.Contains(err.Error(), why) {
		s.Errorf("%s: made as %q, error %v; want one with %q", name, id, err, why)
	}
}

func own(c *corev1.SecurityContext) func(*node.ContainerConfig) {
	return func(config *node.ContainerConfig) { config.Container.SecurityContext = c }
}

func ofPod(change func(*corev1.PodSpec)) func(*node.ContainerConfig) {
	return func(config *node.ContainerConfig) { change(config.Spec) }
}

func testRunAsUser(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	const who = "id -u; id -g"
	s.says(sandbox, "image", who, "0\n0\n", own(nil))
	s.says(sandbox, "user", who, "65534\n0\n", own(&corev1.SecurityContext{RunAsUser: new(int64(65534)), RunAsGroup: new(int64(0))}))
	s.says(sandbox, "both", who, "1001\n2002\n", own(&corev1.SecurityContext{RunAsUser: new(int64(1001)), RunAsGroup: new(int64(2002))}))
	s.says(sandbox, "pod", who, "1003\n2004\n", ofPod(func(p *corev1.PodSpec) {
		p.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1003)), RunAsGroup: new(int64(2004))}
	}))
}

func testRunAsNonRoot(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	s.says(sandbox, "explicit-user", "id -u", "1234\n", own(&corev1.SecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(1234))}))
	s.refuses(sandbox, "explicit-root", "runAsNonRoot", own(&corev1.SecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(0))}))
	s.refuses(sandbox, "no-user", "runAsNonRoot", own(&corev1.SecurityContext{RunAsNonRoot: new(true)}))
}

func testSupplementalGroups(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	s.says(sandbox, "merged", "id -G", "0 1000 2000\n", ofPod(func(p *corev1.PodSpec) {
		p.SecurityContext = &corev1.PodSecurityContext{SupplementalGroups: []int64{1000}, FSGroup: new(int64(2000))}
	}))
}

const effective = "sed -n 's/^CapEff:.//p' /proc/self/status"

func testCapabilities(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	caps := func(add, drop []corev1.Capability) func(*node.ContainerConfig) {
		return own(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: add, Drop: drop}})
	}
	s.says(sandbox, "none", effective, "0000000000000000\n", caps(nil, []corev1.Capability{"all"}))
	s.says(sandbox, "one", effective, "0000000000000400\n", caps([]corev1.Capability{"cap_net_bind_service"}, []corev1.Capability{"ALL"}))
	s.says(sandbox, "lower", effective, "0000000000000401\n", caps([]corev1.Capability{"Chown", "NET_BIND_SERVICE"}, []corev1.Capability{"CAP_ALL"}))
}

func testEscalation(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	const noNew = "sed -n 's/^NoNewPrivs:.//p' /proc/self/status"
	s.says(sandbox, "unset", noNew, "0\n", own(nil))
	s.says(sandbox, "true", noNew, "0\n", own(&corev1.SecurityContext{AllowPrivilegeEscalation: new(true)}))
	s.says(sandbox, "false", noNew, "1\n", own(&corev1.SecurityContext{AllowPrivilegeEscalation: new(false)}))
}

func testReadOnlyRoot(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	const write = "(: >/written) 2>/dev/null && echo yes || echo no"
	s.says(sandbox, "false", write, "yes\n", own(&corev1.SecurityContext{ReadOnlyRootFilesystem: new(false)}))
	s.says(sandbox, "true", write, "no\n", own(&corev1.SecurityContext{ReadOnlyRootFilesystem: new(true)}))
}

func testPrivileged(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	const mount = "mkdir -p /m; mount -t tmpfs none /m 2>/dev/null && echo yes || echo no"
	s.says(sandbox, "false", mount, "no\n", own(&corev1.SecurityContext{Privileged: new(false)}))
	s.says(sandbox, "true", mount, "yes\n", own(&corev1.SecurityContext{Privileged: new(true)}))
}

func testProcMount(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	const masked = "grep -c ' /proc/.* ro' /proc/self/mounts >/dev/null && echo masked || echo unmasked"
	s.says(sandbox, "default", masked, "masked\n", own(&corev1.SecurityContext{ProcMount: new(corev1.DefaultProcMount)}))
	s.says(sandbox, "unmasked", masked, "unmasked\n", own(&corev1.SecurityContext{ProcMount: new(corev1.UnmaskedProcMount)}))
}

func testSeccomp(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	const filter = "sed -n 's/^Seccomp:.//p' /proc/self/status"
	profile := func(kind corev1.SeccompProfileType) func(*node.ContainerConfig) {
		return own(&corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: kind}})
	}
	s.says(sandbox, "unset", filter, "2\n", own(nil))
	s.says(sandbox, "default", filter, "2\n", profile(corev1.SeccompProfileTypeRuntimeDefault))
	s.says(sandbox, "unconfined", filter, "0\n", profile(corev1.SeccompProfileTypeUnconfined))
	s.refuses(sandbox, "nameless", "needs a localhostProfile", profile(corev1.SeccompProfileTypeLocalhost))
}

func testSysctls(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	set := func(name, value string, more func(*corev1.PodSpec)) func(*node.ContainerConfig) {
		return ofPod(func(p *corev1.PodSpec) {
			p.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: name, Value: value}}}
			if more != nil {
				more(p)
			}
		})
	}
	s.says(sandbox, "dots", "cat /proc/sys/kernel/shm_rmid_forced", "1\n", set("kernel.shm_rmid_forced", "1", nil))
	s.says(sandbox, "slashes", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n", set("net/ipv4/ip_unprivileged_port_start", "80", nil))
	s.refuses(sandbox, "unsafe", "kernel.msgmax could harm other pods", set("kernel.msgmax", "1", nil))
	s.refuses(sandbox, "host", "would be the machine's", set("net.ipv4.tcp_syncookies", "1", func(p *corev1.PodSpec) { p.HostNetwork = true }))
}

// namespace is a namespace of the machine, as the tests see it.
func (s *suite) namespace(kind string) string {
	s.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/" + kind) // the main thread may have gone elsewhere
	if err != nil {
		s.Fatal(err)
	}
	return name
}

func testHostNetwork(s *suite) {
	s.says(s.Sandbox(s, s.uid), "web", "readlink /proc/self/ns/net; readlink /proc/self/ns/uts",
		s.namespace("net")+"\n"+s.namespace("uts")+"\n", ofPod(func(p *corev1.PodSpec) { p.HostNetwork = true }))
}

func testHostPID(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	const script = "readlink /proc/self/ns/pid; [ $$ = 1 ] && echo first || echo one of many"
	s.says(sandbox, "host", script, s.namespace("pid")+"\none of many\n", ofPod(func(p *corev1.PodSpec) { p.HostPID = true }))
	config := s.shell(sandbox, "own", script)
	if got := s.output(config); strings.Contains(got, s.namespace("pid")) || !strings.HasSuffix(got, "first\n") {
		s.Errorf("without hostPID it says %q", got)
	}
}

func testHostIPC(s *suite) {
	s.says(s.Sandbox(s, s.uid), "web", "readlink /proc/self/ns/ipc", s.namespace("ipc")+"\n", ofPod(func(p *corev1.PodSpec) { p.HostIPC = true }))
}

// testShareProcesses asks that containers see one another, and what happens when the first of them ends.
func testShareProcesses(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	shared := func(name, script string) node.ContainerConfig {
		config := s.shell(sandbox, name, script)
		config.Spec.ShareProcessNamespace = new(true)
		return config
	}
	first := shared("first", obedient)
	firstID := s.run(first)
	s.logged(first, "ready")
	if got := s.output(shared("second", "tr '\\0' ' ' </proc/1/cmdline")); !strings.Contains(got, "trap 'exit 7' TERM") {
		s.Errorf("the second container sees as the first process: %q", got)
	}
	third := shared("third", stubborn)
	thirdID := s.run(third)
	s.logged(third, "ready")
	if err := s.Runtime.Remove(s.context(), firstID); err != nil {
		s.Fatal(err)
	}
	if c := s.exited(thirdID); c.ExitCode != 137 {
		s.Errorf("when the first container had ended, the third ended with %d, want 137", c.ExitCode)
	}
	// What comes then has a namespace again.
	again := shared("first", "echo $$")
	again.Attempt, again.LogPath = 1, again.LogPath+".again"
	if got := s.output(again); got != "1\n" {
		s.Errorf("made again, its process has the number %q", got)
	}
}

func testHostUsers(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	s.refuses(sandbox, "false", "hostUsers is false", ofPod(func(p *corev1.PodSpec) { p.HostUsers = new(false) }))
	s.says(sandbox, "true", "echo $((1 + 1))", "2\n", ofPod(func(p *corev1.PodSpec) { p.HostUsers = new(true) }))
}

func testHugePages(s *suite) {
	s.refuses(s.Sandbox(s, s.uid), "web", "huge pages are not supported", func(config *node.ContainerConfig) {
		config.Container.Resources.Limits = corev1.ResourceList{"hugepages-2Mi": resource.MustParse("2Mi")}
	})
}

// testSwap asks that a container with a memory limit swaps nothing out, where the kernel can tell.
func testSwap(s *suite) {
	const script = "cd /sys/fs/cgroup; cat memory/memory.memsw.limit_in_bytes memory.swap.max 2>/dev/null; true"
	config := s.shell(s.Sandbox(s, s.uid), "web", script)
	config.Container.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	if got := strings.TrimSpace(s.output(config)); got != "" && got != "0" && got != "67108864" {
		s.Errorf("it may swap: %s", got)
	}
}

func testWorkingDir(s *suite) {
	s.says(s.Sandbox(s, s.uid), "new", "pwd; (: >x) && echo written", "/not/there/yet\nwritten\n", func(config *node.ContainerConfig) {
		config.Container.WorkingDir = "/not/there/yet"
	})
}
