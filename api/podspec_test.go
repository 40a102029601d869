package api

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestPodSpec(t *testing.T) {
	for _, test := range []struct {
		name, spec string
		requests   Resources
		extended   map[string]int64
		hostPorts  []int32
		named      []ContainerPort
	}{
		{name: "nothing", spec: "containers: [{name: a}]"},
		{
			name:     "the sum of all containers, a limit standing in for a request",
			spec:     "containers: [{name: a, resources: {requests: {cpu: 100m, memory: 1Ki}, limits: {cpu: 1}}}, {name: b, resources: {limits: {cpu: 50m, memory: 2Ki}}}]",
			requests: Resources{MilliCPU: 150, Memory: 3072},
		},
		{
			name: "an init container that asks for more, and overhead",
			spec: `
initContainers: [{name: i, resources: {requests: {cpu: 1, memory: 1Ki}}}, {name: j, resources: {requests: {cpu: 500m}}}]
containers: [{name: a, resources: {requests: {cpu: 100m, memory: 2Ki}}}]
overhead: {cpu: 10m}`,
			requests: Resources{MilliCPU: 1010, Memory: 2048},
		},
		{
			name: "a sidecar runs beside what is started after it",
			spec: `
initContainers:
- {name: i, resources: {requests: {cpu: 300m}}}
- {name: s, restartPolicy: Always, resources: {requests: {cpu: 100m}}, ports: [{name: side, containerPort: 1}]}
- {name: j, resources: {requests: {cpu: 400m}}, ports: [{name: init, containerPort: 2}]}
containers: [{name: a, resources: {requests: {cpu: 200m}}}]`,
			requests: Resources{MilliCPU: 500},
			named:    []ContainerPort{{Name: "side", Port: 1, Protocol: corev1.ProtocolTCP}},
		},
		{
			name:     "of the pod as a whole",
			spec:     "{resources: {requests: {cpu: 2}}, containers: [{name: a, resources: {requests: {cpu: 100m, memory: 2Ki}}}]}",
			requests: Resources{MilliCPU: 2000, Memory: 2048},
		},
		{
			name: "devices and other resources, with a limit standing in for a request",
			spec: `
initContainers:
- {name: s, restartPolicy: Always, resources: {limits: {nvidia.com/gpu: 1}}}
- {name: i, resources: {limits: {nvidia.com/gpu: 4, ephemeral-storage: 1Ki}}}
containers:
- {name: a, resources: {limits: {nvidia.com/gpu: 1, hugepages-2Mi: 4Mi}, requests: {ephemeral-storage: 2Ki}}}
- {name: b, resources: {limits: {nvidia.com/gpu: 1, example.com/none: 0}}}
overhead: {ephemeral-storage: 1}`,
			extended: map[string]int64{"nvidia.com/gpu": 5, "ephemeral-storage": 2049, "hugepages-2Mi": 4 << 20},
		},
		{
			name:     "resources of the pod as a whole",
			spec:     "{resources: {limits: {hugepages-2Mi: 8Mi}}, containers: [{name: a, resources: {limits: {hugepages-2Mi: 4Mi}}}]}",
			extended: map[string]int64{"hugepages-2Mi": 8 << 20},
		},
		{
			name:      "ports",
			spec:      "containers: [{name: a, ports: [{name: http, containerPort: 80, hostPort: 8080}, {containerPort: 81}, {name: dns, containerPort: 53, protocol: UDP}]}]",
			hostPorts: []int32{8080},
			named:     []ContainerPort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}},
		},
		{
			name:      "ports on the node's own network",
			spec:      "{hostNetwork: true, containers: [{name: a, ports: [{containerPort: 80}]}]}",
			hostPorts: []int32{80},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var spec corev1.PodSpec
			if err := yaml.UnmarshalStrict([]byte(test.spec), &spec); err != nil {
				t.Fatal(err)
			}
			if got := PodRequests(&spec); got != test.requests {
				t.Errorf("requests %+v, want %+v", got, test.requests)
			}
			if got := PodExtended(&spec); !reflect.DeepEqual(got, test.extended) {
				t.Errorf("extended resources %+v, want %+v", got, test.extended)
			}
			if got := NamedPorts(&spec); !reflect.DeepEqual(got, test.named) {
				t.Errorf("named ports %+v, want %+v", got, test.named)
			}
			var held []int32
			for _, p := range HostPorts(&spec) {
				held = append(held, p.HostPort)
			}
			if !reflect.DeepEqual(held, test.hostPorts) {
				t.Errorf("host ports %v, want %v", held, test.hostPorts)
			}
		})
	}
}
