package api

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// PodRequests is what a pod of the spec asks of its node, as Kubernetes reckons it: what all containers ask together, or
// what the most demanding init container asks beside the sidecars started before it, whichever is more, and the overhead.
// A container that has a limit but no request asks for its limit.
func PodRequests(spec *corev1.PodSpec) Resources {
	var sidecars, init, sum Resources
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if isSidecar(c) {
			sidecars = sidecars.Add(requests(c.Resources.Requests, c.Resources.Limits))
			init = larger(init, sidecars)
			continue
		}
		init = larger(init, sidecars.Add(requests(c.Resources.Requests, c.Resources.Limits)))
	}
	sum = sidecars
	for i := range spec.Containers {
		sum = sum.Add(requests(spec.Containers[i].Resources.Requests, spec.Containers[i].Resources.Limits))
	}
	sum = larger(sum, init)
	if spec.Resources != nil { // what is said of the pod as a whole goes before the sum
		whole := requests(spec.Resources.Requests, spec.Resources.Limits)
		if whole.MilliCPU > 0 {
			sum.MilliCPU = whole.MilliCPU
		}
		if whole.Memory > 0 {
			sum.Memory = whole.Memory
		}
	}
	return sum.Add(requests(spec.Overhead, nil))
}

// PodExtended is what a pod of the spec asks of its node beside CPU and memory, by name, reckoned as PodRequests does: devices
// such as nvidia.com/gpu by number, ephemeral-storage and pages such as hugepages-2Mi in bytes. Nil is nothing.
func PodExtended(spec *corev1.PodSpec) map[string]int64 {
	var asked map[string]int64
	note := func(list corev1.ResourceList) {
		for name := range list {
			if name == corev1.ResourceCPU || name == corev1.ResourceMemory || asked[string(name)] > 0 {
				continue
			}
			if amount := extended(spec, name); amount > 0 {
				if asked == nil {
					asked = map[string]int64{}
				}
				asked[string(name)] = amount
			}
		}
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			note(containers[i].Resources.Requests)
			note(containers[i].Resources.Limits)
		}
	}
	if spec.Resources != nil {
		note(spec.Resources.Requests)
		note(spec.Resources.Limits)
	}
	note(spec.Overhead)
	return asked
}

// extended is how much of one resource a pod of the spec asks for.
func extended(spec *corev1.PodSpec, name corev1.ResourceName) int64 {
	of := func(asked, limits corev1.ResourceList) int64 {
		q, _ := either(asked, limits, name)
		return q.Value()
	}
	var sidecars, init int64
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		amount := sidecars + of(c.Resources.Requests, c.Resources.Limits)
		init = max(init, amount)
		if isSidecar(c) {
			sidecars = amount
		}
	}
	sum := sidecars
	for i := range spec.Containers {
		sum += of(spec.Containers[i].Resources.Requests, spec.Containers[i].Resources.Limits)
	}
	sum = max(sum, init)
	if spec.Resources != nil {
		sum = cmp.Or(of(spec.Resources.Requests, spec.Resources.Limits), sum)
	}
	return sum + of(spec.Overhead, nil)
}

// HostPorts are the ports that a pod of the spec holds on its node; each has HostPort and Protocol set. On the node's own
// network every container port is one.
func HostPorts(spec *corev1.PodSpec) []corev1.ContainerPort {
	var held []corev1.ContainerPort
	eachPort(spec, func(p corev1.ContainerPort) {
		if spec.HostNetwork && p.HostPort == 0 {
			p.HostPort = p.ContainerPort
		}
		if p.HostPort != 0 {
			held = append(held, p)
		}
	})
	return held
}

// NamedPorts are the ports of a pod of the spec that a service can name as its target.
func NamedPorts(spec *corev1.PodSpec) []ContainerPort {
	var named []ContainerPort
	eachPort(spec, func(p corev1.ContainerPort) {
		if p.Name != "" {
			named = append(named, ContainerPort{Name: p.Name, Port: p.ContainerPort, Protocol: p.Protocol})
		}
	})
	return named
}

// eachPort calls fn with the ports of all containers that run as long as the pod; none lacks its protocol.
func eachPort(spec *corev1.PodSpec, fn func(corev1.ContainerPort)) {
	each := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
			fn(p)
		}
	}
	for i := range spec.InitContainers {
		if isSidecar(&spec.InitContainers[i]) {
			each(&spec.InitContainers[i])
		}
	}
	for i := range spec.Containers {
		each(&spec.Containers[i])
	}
}

// isSidecar reports whether an init container keeps running beside the others.
func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func requests(asked, limits corev1.ResourceList) Resources {
	var r Resources
	if q, ok := either(asked, limits, corev1.ResourceCPU); ok {
		r.MilliCPU = q.MilliValue()
	}
	if q, ok := either(asked, limits, corev1.ResourceMemory); ok {
		r.Memory = q.Value()
	}
	return r
}

// either is the quantity asked for, or else the limit.
func either(asked, limits corev1.ResourceList, name corev1.ResourceName) (resource.Quantity, bool) {
	if q, ok := asked[name]; ok {
		return q, true
	}
	q, ok := limits[name]
	return q, ok
}

// MeasuredRequests is what the use of a pod of the spec is held against: what the containers and sidecars ask that run as
// long as it does, or what is said of the pod as a whole. Of a resource that one of them asks nothing of it is 0, for then use
// is no share of anything.
func MeasuredRequests(spec *corev1.PodSpec) Resources {
	var sum Resources
	lacksCPU, lacksMemory := false, false
	add := func(c *corev1.Container) {
		r := requests(c.Resources.Requests, c.Resources.Limits)
		lacksCPU, lacksMemory = lacksCPU || r.MilliCPU == 0, lacksMemory || r.Memory == 0
		sum = sum.Add(r)
	}
	for i := range spec.InitContainers {
		if isSidecar(&spec.InitContainers[i]) {
			add(&spec.InitContainers[i])
		}
	}
	for i := range spec.Containers {
		add(&spec.Containers[i])
	}
	if lacksCPU {
		sum.MilliCPU = 0
	}
	if lacksMemory {
		sum.Memory = 0
	}
	if spec.Resources == nil {
		return sum
	}
	whole := requests(spec.Resources.Requests, spec.Resources.Limits)
	return Resources{MilliCPU: cmp.Or(whole.MilliCPU, sum.MilliCPU), Memory: cmp.Or(whole.Memory, sum.Memory)}
}

// ContainerRequests is what one container of the spec asks for, or else its limit; nothing for one that is not there.
func ContainerRequests(spec *corev1.PodSpec, name string) Resources {
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if c := &containers[i]; c.Name == name {
				return requests(c.Resources.Requests, c.Resources.Limits)
			}
		}
	}
	return Resources{}
}

func larger(a, b Resources) Resources {
	return Resources{MilliCPU: max(a.MilliCPU, b.MilliCPU), Memory: max(a.Memory, b.Memory)}
}
