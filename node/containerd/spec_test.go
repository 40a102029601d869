package containerd

import (
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

func TestArguments(t *testing.T) {
	full := ocispec.ImageConfig{Entrypoint: []string{"entry"}, Cmd: []string{"cmd"}}
	for _, c := range []struct {
		name          string
		image         ocispec.ImageConfig
		command, args []string
		want          string
	}{
		{"the image's", full, nil, nil, "entry cmd"},
		{"only a command", full, []string{"own"}, nil, "own"},
		{"only arguments", full, nil, []string{"a", "b"}, "entry a b"},
		{"both", full, []string{"own"}, []string{"a"}, "own a"},
		{"an image without an entry point", ocispec.ImageConfig{Cmd: []string{"cmd"}}, nil, nil, "cmd"},
		{"nothing", ocispec.ImageConfig{}, nil, nil, ""},
	} {
		got, err := arguments(c.image, corev1.Container{Command: c.command, Args: c.args})
		if strings.Join(got, " ") != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"A=image", "B=image", "PATH=/image"}, []string{"B=own", "C=own", "C=last", "D"})
	want := []string{"PATH=/image", "A=image", "B=own", "C=last", "D"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := environment(nil, nil); len(got) != 1 || !strings.HasPrefix(got[0], "PATH=/") {
		t.Errorf("without any: %q", got)
	}
}

// TestEnvironmentProperty: every name is there once, with the last value that was given.
func TestEnvironmentProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entry := rapid.StringMatching(`[A-D]=[xyz]{0,2}`)
		base, own := rapid.SliceOf(entry).Draw(t, "base"), rapid.SliceOf(entry).Draw(t, "own")
		want := map[string]string{}
		for _, e := range slices.Concat(base, own) {
			name, value, _ := strings.Cut(e, "=")
			want[name] = value
		}
		got := map[string]string{}
		all := environment(base, own)
		for _, e := range all {
			name, value, _ := strings.Cut(e, "=")
			got[name] = value
		}
		delete(got, "PATH")
		if !maps.Equal(got, want) || len(all) != len(want)+1 {
			t.Fatalf("of %q and %q came %q", base, own, all)
		}
	})
}

func TestMounts(t *testing.T) {
	base := []specs.Mount{{Destination: "/proc"}, {Destination: "/dev"}, {Destination: "/dev/shm"}}
	got := withMounts(base, []node.Mount{
		{Source: "/s/deep", Target: "/data/a/b/", ReadOnly: true}, {Source: "/s/shm", Target: "/dev/shm"}, {Source: "/s/data", Target: "data"},
	})
	var order []string
	for _, m := range got {
		order = append(order, m.Destination)
	}
	if want := []string{"/proc", "/dev", "/data", "/dev/shm", "/data/a/b"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if last := got[len(got)-1]; !slices.Contains(last.Options, "ro") || slices.Contains(last.Options, "rw") || last.Type != "bind" {
		t.Errorf("a mount to read only: %+v", last)
	}
	if len(base) != 3 || base[2].Source != "" {
		t.Errorf("what was given has changed: %+v", base)
	}
}

// TestMountsProperty: whatever the order, a mount comes after all that its target is below.
func TestMountsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets := rapid.SliceOfDistinct(rapid.StringMatching(`(/[ab]){1,4}`), rapid.ID[string]).Draw(t, "targets")
		var mounts []node.Mount
		for _, target := range targets {
			mounts = append(mounts, node.Mount{Source: "/s", Target: target})
		}
		got := withMounts(nil, mounts)
		for i, later := range got {
			for _, earlier := range got[:i] {
				if strings.HasPrefix(earlier.Destination+"/", later.Destination+"/") {
					t.Fatalf("%s hides %s", later.Destination, earlier.Destination)
				}
			}
		}
		if len(got) != len(targets) {
			t.Fatalf("%d mounts of %d", len(got), len(targets))
		}
	})
}

func TestLimits(t *testing.T) {
	h := hostLimits{memory: 8 << 30, oomFloor: oomGuaranteed}
	list := func(cpu, memory string) corev1.ResourceList {
		l := corev1.ResourceList{}
		if cpu != "" {
			l[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			l[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return l
	}
	for _, c := range []struct {
		name             string
		requests, limits corev1.ResourceList
		shares           uint64
		quota, memory    int64
		oom              int
	}{
		{"nothing", nil, nil, 2, 0, 0, 1000},
		{"requests", list("250m", "2Gi"), nil, 256, 0, 0, 750},
		{"a small request", list("1m", "1Mi"), nil, 2, 0, 0, 999},
		{"a request of all memory", list("1", "16Gi"), nil, 1024, 0, 0, 3},
		{"limits are requests too", nil, list("1500m", "1Gi"), 1536, 150000, 1 << 30, -997},
		{"guaranteed", list("500m", "64Mi"), list("500m", "64Mi"), 512, 50000, 64 << 20, -997},
		{"the least quota", nil, list("1m", "64Mi"), 2, 1000, 64 << 20, -997},
		{"burstable", list("100m", "1Gi"), list("1", "2Gi"), 102, 100000, 2 << 30, 875},
	} {
		s := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
		container := corev1.Container{Resources: corev1.ResourceRequirements{Requests: c.requests, Limits: c.limits}}
		if err := h.limit(s, node.ContainerConfig{Container: container}); err != nil {
			t.Fatal(err)
		}
		res := s.Linux.Resources
		var quota, memory int64
		if res.CPU.Quota != nil {
			quota = *res.CPU.Quota
		}
		if res.Memory != nil {
			memory = *res.Memory.Limit
		}
		if *res.CPU.Shares != c.shares || quota != c.quota || memory != c.memory || *s.Process.OOMScoreAdj != c.oom {
			t.Errorf("%s: shares %d, quota %d, memory %d, oom_score_adj %d; want %d, %d, %d, %d", c.name,
				*res.CPU.Shares, quota, memory, *s.Process.OOMScoreAdj, c.shares, c.quota, c.memory, c.oom)
		}
	}
	// One container that asks for less than it may use makes the pod burstable.
	mixed := &corev1.PodSpec{Containers: []corev1.Container{
		{Resources: corev1.ResourceRequirements{Limits: list("1", "1Gi")}}, {Name: "other"},
	}}
	if got := h.oomScore(node.ContainerConfig{Container: mixed.Containers[0], Spec: mixed}); got != 875 {
		t.Errorf("in a pod that is not guaranteed: %d", got)
	}
	h.oomFloor = 5
	s := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	if err := h.limit(s, node.ContainerConfig{Container: mixed.Containers[0]}); err != nil {
		t.Fatal(err)
	}
	if *s.Process.OOMScoreAdj != 5 {
		t.Errorf("below the floor: %d", *s.Process.OOMScoreAdj)
	}
}

func TestFindUsers(t *testing.T) {
	f := new(userFiles)
	err := f.readFrom(fstest.MapFS{
		"etc/passwd": {Data: []byte("root:x:0:0::/:/bin/sh\nweb:x:1000:100::/:\nbroken\n123:x:7:7::/:\n")},
		"etc/group":  {Data: []byte("root:x:0:\nwww:x:100:\nextra:x:200:web,root\nmore:x:300:web\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		image string
		own   corev1.SecurityContext
		pod   corev1.PodSecurityContext
		want  specs.User
		err   string
	}{
		{image: "", want: specs.User{AdditionalGids: []uint32{0, 200}}},
		{image: "web", want: specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{100, 200, 300}}},
		{image: "web:extra", want: specs.User{UID: 1000, GID: 200, AdditionalGids: []uint32{200, 300}}},
		{image: "55:66", want: specs.User{UID: 55, GID: 66, AdditionalGids: []uint32{66}}},
		{image: "web:extra", own: corev1.SecurityContext{RunAsUser: new(int64(5))}, want: specs.User{UID: 5, AdditionalGids: []uint32{0}}},
		{image: "web", own: corev1.SecurityContext{RunAsGroup: new(int64(9))}, want: specs.User{UID: 1000, GID: 9, AdditionalGids: []uint32{9, 200, 300}}},
		{image: "root", pod: corev1.PodSecurityContext{RunAsUser: new(int64(1000))}, want: specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{100, 200, 300}}},
		{image: "root", own: corev1.SecurityContext{RunAsUser: new(int64(0))}, pod: corev1.PodSecurityContext{RunAsUser: new(int64(1000))}, want: specs.User{AdditionalGids: []uint32{0, 200}}},
		{image: "web", pod: corev1.PodSecurityContext{RunAsNonRoot: new(true)}, want: specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{100, 200, 300}}},
		{image: "", pod: corev1.PodSecurityContext{RunAsNonRoot: new(true)}, err: "runAsNonRoot"},
		{image: "", own: corev1.SecurityContext{RunAsNonRoot: new(false)}, pod: corev1.PodSecurityContext{RunAsNonRoot: new(true)}, want: specs.User{AdditionalGids: []uint32{0, 200}}},
		{image: "web", pod: corev1.PodSecurityContext{SupplementalGroups: []int64{7, 200}, FSGroup: new(int64(8))}, want: specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{100, 200, 300, 7, 8}}},
		{image: "web", pod: corev1.PodSecurityContext{SupplementalGroups: []int64{7}, SupplementalGroupsPolicy: new(corev1.SupplementalGroupsPolicyStrict)}, want: specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{100, 7}}},
		{image: "nobody", err: "/etc/passwd"},
		{image: "web:nobody", err: "/etc/group"},
		{image: "99999999999", err: "between 0 and"},
		{image: "-5", err: "between 0 and"},
		{image: "99999999999999999999999", err: "between 0 and"},
	} {
		got, err := f.resolve(c.image, &c.pod, &c.own)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: got %+v, %v; want an error with %q", c.image, got, err, c.err)
		case c.err == "" && (err != nil || got.UID != c.want.UID || got.GID != c.want.GID || !slices.Equal(got.AdditionalGids, c.want.AdditionalGids)):
			t.Errorf("%q: got %+v, %v; want %+v", c.image, got, err, c.want)
		}
	}
}

// TestContainerIDProperty: an ID is one that containerd takes, whatever it is made from, and no two are the same.
func TestContainerIDProperty(t *testing.T) {
	seen := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		id := newContainerID(rapid.String().Draw(t, "uid"), rapid.String().Draw(t, "name"), rapid.IntRange(0, 1<<40).Draw(t, "attempt"))
		if err := identifiers.Validate(id); err != nil || len(id) > 60 || seen[id] {
			t.Fatalf("%s: %v", id, err)
		}
		seen[id] = true
	})
}

// TestLabelsProperty: what the labels say of a container comes back.
func TestLabelsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := node.ContainerConfig{
			Pod: api.PodIdentity{
				Pod: api.PodRef(rapid.StringMatching(`[a-z]{1,9}`).Draw(t, "namespace"), rapid.StringMatching(`[a-z.-]{1,9}`).Draw(t, "name")),
				UID: rapid.String().Draw(t, "uid"), Template: api.Digest(rapid.String().Draw(t, "template")),
			},
			Attempt: rapid.IntRange(0, 1000).Draw(t, "attempt"),
		}
		config.Container.Name = rapid.String().Draw(t, "container")
		labels := labelsFor(config, "group")
		c, err := describe("id", labels)
		want := node.Container{
			ID: "id", PodUID: config.Pod.UID, Pod: config.Pod.Pod, Name: config.Container.Name, Attempt: config.Attempt,
			Template: config.Pod.Template, State: node.ContainerCreated,
		}
		if err != nil || !reflect.DeepEqual(c, want) {
			t.Fatalf("got %+v, %v; want %+v", c, err, want)
		}
		if !isRun(labels, c.Name, c.Attempt) || isRun(labels, c.Name, c.Attempt+1) {
			t.Fatal("the labels are not those of the run, or of another too")
		}
	})
}

func TestOOMKills(t *testing.T) {
	for data, want := range map[string]int{
		"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n": 3,
		"low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n":     1,
		"oom_kill_disable 1\nunder_oom 0\n":             0,
		"":                                              0,
	} {
		if got := oomKills([]byte(data)); got != want {
			t.Errorf("%q: %d, want %d", data, got, want)
		}
	}
}

// TestSpec looks at the whole of a plain container's specification for what none of its parts shows.
func TestSpec(t *testing.T) {
	r := &Runtime{options: Options{CgroupRoot: "/headway/n1"}}
	i := &image{config: ocispec.ImageConfig{Cmd: []string{"run"}, WorkingDir: "/work"}, users: new(userFiles)}
	config := node.ContainerConfig{Sandbox: node.Sandbox{NetNS: "/ns/net", IPCNS: "/ns/ipc", UTSNS: "/ns/uts"}}
	s, err := r.specFor(namespaces.WithNamespace(t.Context(), "test"), "id", "group", i, config)
	if err != nil {
		t.Fatal(err)
	}
	if s.Hostname != "" || s.Process.Cwd != "/work" || s.Linux.CgroupsPath != "/headway/n1/id" || s.Annotations[groupAnnotation] != "group" {
		t.Errorf("hostname %q, directory %q, control group %q, annotations %v", s.Hostname, s.Process.Cwd, s.Linux.CgroupsPath, s.Annotations)
	}
	joined := map[specs.LinuxNamespaceType]string{}
	for _, ns := range s.Linux.Namespaces {
		joined[ns.Type] = ns.Path
	}
	for kind, want := range map[specs.LinuxNamespaceType]string{
		specs.NetworkNamespace: "/ns/net", specs.IPCNamespace: "/ns/ipc", specs.UTSNamespace: "/ns/uts", specs.PIDNamespace: "", specs.MountNamespace: "",
	} {
		if got, ok := joined[kind]; !ok || got != want {
			t.Errorf("namespace %s: %q, %v; want %q", kind, got, ok, want)
		}
	}
	for _, m := range s.Mounts {
		if !path.IsAbs(m.Destination) || m.Destination == "/run" {
			t.Errorf("mount %+v", m)
		}
	}
	if !slices.Contains(s.Linux.MaskedPaths, "/proc/kcore") || !slices.Contains(s.Linux.ReadonlyPaths, "/proc/sys") {
		t.Errorf("masked %v, to read only %v", s.Linux.MaskedPaths, s.Linux.ReadonlyPaths)
	}
	if !regexp.MustCompile(`^1\.0\.`).MatchString(s.Version) {
		t.Errorf("version %s, which old runtimes refuse", s.Version)
	}
}
