package schema

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// podSpec checks what the parts of a pod say of each other.
func (i *inspection) podSpec(at []any, spec *corev1.PodSpec) {
	volumes := map[string]bool{}
	for n := range spec.Volumes {
		volumes[spec.Volumes[n].Name] = true
		i.volume(under(at, "volumes", n), &spec.Volumes[n])
	}
	for n := range spec.Containers {
		c := &spec.Containers[n]
		i.container(under(at, "containers", n), c, volumes)
	}
	for n, t := range spec.Tolerations {
		i.toleration(under(at, "tolerations", n), t)
	}
	if spec.DeprecatedServiceAccount != "" && spec.ServiceAccountName != "" && spec.DeprecatedServiceAccount != spec.ServiceAccountName {
		i.fail(under(at, "serviceAccount"), "%q is not the serviceAccountName: remove it", spec.DeprecatedServiceAccount)
	}
}

func (i *inspection) toleration(at []any, t corev1.Toleration) {
	switch {
	case t.Operator == corev1.TolerationOpExists && t.Value != "":
		i.fail(under(at, "value"), "%q may not be set when operator is Exists", t.Value)
	case t.Key == "" && t.Operator != corev1.TolerationOpExists:
		i.fail(under(at, "operator"), "must be Exists where there is no key")
	}
}

func (i *inspection) volume(at []any, v *corev1.Volume) {
	if v.ConfigMap == nil {
		return
	}
	at = under(at, "configMap")
	i.useConfigMap(under(at, "name"), v.ConfigMap.Name, "", v.ConfigMap.Optional)
	for n, item := range v.ConfigMap.Items {
		i.useConfigMap(under(at, "items", n, "key"), v.ConfigMap.Name, item.Key, v.ConfigMap.Optional)
	}
}

func (i *inspection) container(at []any, c *corev1.Container, volumes map[string]bool) {
	for n, m := range c.VolumeMounts {
		if volumes[m.Name] {
			continue
		}
		names := slices.Sorted(maps.Keys(volumes))
		hint := "the pod has none"
		if len(names) > 0 {
			hint = "the pod has " + strings.Join(names, ", ")
		}
		i.fail(under(at, "volumeMounts", n, "name"), "%q is not a volume of the pod: %s", m.Name, hint)
	}
	for n := range c.Env {
		i.env(under(at, "env", n), &c.Env[n])
	}
	for n, from := range c.EnvFrom {
		if ref := from.ConfigMapRef; ref != nil {
			i.useConfigMap(under(at, "envFrom", n, "configMapRef", "name"), ref.Name, "", ref.Optional)
		}
	}
	i.ports(at, c)
	i.resources(under(at, "resources"), c.Resources)
	i.probe(under(at, "readinessProbe"), c, c.ReadinessProbe)
	i.probe(under(at, "livenessProbe"), c, c.LivenessProbe)
	if p := c.LivenessProbe; p != nil && p.SuccessThreshold != 1 {
		i.fail(under(at, "livenessProbe", "successThreshold"), "%d is not 1, which a liveness probe must have", p.SuccessThreshold)
	}
	if s := c.SecurityContext; s != nil && s.Privileged != nil && *s.Privileged && s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
		i.fail(under(at, "securityContext", "allowPrivilegeEscalation"), "cannot be false while privileged is true")
	}
}

func (i *inspection) env(at []any, e *corev1.EnvVar) {
	if e.ValueFrom == nil {
		if p := placeholder.FindString(e.Value); p != "" {
			i.warn(under(at, "value"), "%s is taken literally: headway fills in no placeholders (a variable of the container is written $(NAME))", p)
		}
		return
	}
	if e.Value != "" {
		i.fail(under(at, "valueFrom"), "may not be set beside value: keep one of them")
	}
	if ref := e.ValueFrom.ConfigMapKeyRef; ref != nil {
		i.useConfigMap(under(at, "valueFrom", "configMapKeyRef", "name"), ref.Name, "", ref.Optional)
		i.useConfigMap(under(at, "valueFrom", "configMapKeyRef", "key"), ref.Name, ref.Key, ref.Optional)
	}
}

func (i *inspection) ports(at []any, c *corev1.Container) {
	type id struct {
		port     int32
		protocol corev1.Protocol
	}
	seen := map[id]int{}
	for n, p := range c.Ports {
		if first, ok := seen[id{p.ContainerPort, p.Protocol}]; ok {
			i.warn(under(at, "ports", n, "containerPort"), "%d/%s is in ports[%d] already", p.ContainerPort, p.Protocol, first)
			continue
		}
		seen[id{p.ContainerPort, p.Protocol}] = n
	}
}

func (i *inspection) resources(at []any, r corev1.ResourceRequirements) {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, asked := r.Requests[name]
		limit, limited := r.Limits[name]
		if asked && limited && request.Cmp(limit) > 0 {
			i.fail(under(at, "requests", string(name)), "%s is more than the limit, %s", request.String(), limit.String())
		}
	}
}

// probe holds a port by name against the container's ports.
func (i *inspection) probe(at []any, c *corev1.Container, p *corev1.Probe) {
	if p == nil {
		return
	}
	var port intstr.IntOrString
	switch {
	case p.HTTPGet != nil:
		port, at = p.HTTPGet.Port, under(at, "httpGet", "port")
	case p.TCPSocket != nil:
		port, at = p.TCPSocket.Port, under(at, "tcpSocket", "port")
	case p.Exec != nil && len(p.Exec.Command) == 0:
		i.fail(under(at, "exec", "command"), "is empty: write the program and its arguments")
		return
	default:
		return
	}
	if port.Type != intstr.String {
		return
	}
	if !slices.ContainsFunc(c.Ports, func(cp corev1.ContainerPort) bool { return cp.Name == port.StrVal }) {
		i.fail(at, "%q is not the name of a port of the container", port.StrVal)
	}
}
