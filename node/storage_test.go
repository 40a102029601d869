package node

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestOveruse(t *testing.T) {
	const volumes = "volumes: [{name: free, emptyDir: {}}, {name: small, emptyDir: {sizeLimit: 1Mi}}]"
	const limited = "{name: %, resources: {limits: {ephemeral-storage: 2Mi}}}"
	a, b := strings.ReplaceAll(limited, "%", "a"), strings.ReplaceAll(limited, "%", "b")
	const sidecar = "{name: s, restartPolicy: Always, resources: {limits: {ephemeral-storage: 1Mi}}}"
	for _, c := range []struct {
		name, spec string
		volumes    map[string]int64
		containers map[string]int64
		want       string
	}{
		{"nothing is limited", "containers: [{name: a}]", map[string]int64{"x": 1 << 40}, map[string]int64{"a": 1 << 40}, ""},
		{"a volume within its limit", "{containers: [{name: a}], " + volumes + "}", map[string]int64{"small": 1 << 20, "free": 1 << 40}, nil, ""},
		{"a volume past it", "{containers: [{name: a}], " + volumes + "}", map[string]int64{"small": 1<<20 + 1024}, nil, "emptyDir volume small holds 1025Ki, more than its sizeLimit 1Mi"},
		{"a container past its limit", "containers: [" + a + ", {name: b}]", nil, map[string]int64{"a": 3 << 20}, "container a has written 3Mi, more than its limit of ephemeral-storage 2Mi"},
		{"both within, together with a volume past", "{containers: [" + a + ", " + b + "], " + volumes + "}", map[string]int64{"free": 1 << 20}, map[string]int64{"a": 2 << 20, "b": 2 << 20}, "the pod has written 5Mi, more than the 4Mi of ephemeral-storage that its containers may use"},
		{"an init container past its limit", "{initContainers: [" + a + "], containers: [{name: b}]}", nil, map[string]int64{"a": 3 << 20}, "container a has written 3Mi, more than its limit of ephemeral-storage 2Mi"},
		{"a sidecar past its limit", "{initContainers: [" + sidecar + "], containers: [{name: b}]}", nil, map[string]int64{"s": 2 << 20}, "container s has written 2Mi, more than its limit of ephemeral-storage 1Mi"},
		{"with a sidecar, together within", "{initContainers: [" + sidecar + "], containers: [" + a + "], " + volumes + "}", map[string]int64{"free": 1 << 20}, map[string]int64{"a": 2 << 20}, ""},
		{"with a sidecar, together past", "{initContainers: [" + a + ", " + sidecar + "], containers: [" + b + "], " + volumes + "}", map[string]int64{"free": 2 << 20}, map[string]int64{"s": 1 << 20, "b": 1 << 20}, "the pod has written 4Mi, more than the 3Mi of ephemeral-storage that its containers may use"},
		{"one without a limit", "{containers: [" + a + ", {name: b}], " + volumes + "}", map[string]int64{"free": 1 << 30}, nil, ""},
	} {
		var spec corev1.PodSpec
		if err := yaml.UnmarshalStrict([]byte(c.spec), &spec); err != nil {
			t.Fatal(err)
		}
		if got := overuse(&spec, storageUse{c.volumes, c.containers}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if measured := limitsStorage(&spec); !measured && c.want != "" {
			t.Errorf("%s: it is not measured", c.name)
		}
	}
}
