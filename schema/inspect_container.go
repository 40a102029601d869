package schema

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/api"
)

func (i *inspection) container(at []any, c *corev1.Container, volumes map[string]bool) {
	for n, m := range c.VolumeMounts {
		here := under(at, "volumeMounts", n)
		i.isVolume(under(here, "name"), m.Name, volumes)
		if m.SubPath != "" && m.SubPathExpr != "" {
			i.fail(under(here, "subPathExpr"), "may not be set beside subPath: keep one of them")
		}
	}
	for n, d := range c.VolumeDevices {
		i.isVolume(under(at, "volumeDevices", n, "name"), d.Name, volumes)
	}
	for n := range c.Env {
		i.env(under(at, "env", n), &c.Env[n])
	}
	for n, from := range c.EnvFrom {
		if ref := from.ConfigMapRef; ref != nil {
			i.use(under(at, "envFrom", n, "configMapRef", "name"), "ConfigMap", ref.Name, "", ref.Optional)
		}
		if ref := from.SecretRef; ref != nil {
			i.use(under(at, "envFrom", n, "secretRef", "name"), "Secret", ref.Name, "", ref.Optional)
		}
	}
	i.ports(at, c)
	i.resources(under(at, "resources"), c.Resources)
	i.probe(under(at, "readinessProbe"), c, c.ReadinessProbe, false)
	i.probe(under(at, "livenessProbe"), c, c.LivenessProbe, true)
	i.probe(under(at, "startupProbe"), c, c.StartupProbe, true)
	if l := c.Lifecycle; l != nil {
		i.handler(under(at, "lifecycle", "postStart"), c, l.PostStart)
		i.handler(under(at, "lifecycle", "preStop"), c, l.PreStop)
	}
	if s := c.SecurityContext; s != nil && s.Privileged != nil && *s.Privileged && s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
		i.fail(under(at, "securityContext", "allowPrivilegeEscalation"), "cannot be false while privileged is true")
	}
}

// initContainer checks a container that runs to its end first, or beside the others if it is a sidecar.
func (i *inspection) initContainer(at []any, c *corev1.Container, volumes map[string]bool) {
	i.container(at, c, volumes)
	if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
		return
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"readinessProbe", c.ReadinessProbe != nil},
		{"livenessProbe", c.LivenessProbe != nil},
		{"startupProbe", c.StartupProbe != nil},
		{"lifecycle", c.Lifecycle != nil},
	} {
		if f.set {
			i.fail(under(at, f.name), "may be set on an init container only with restartPolicy: Always")
		}
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
		i.use(under(at, "valueFrom", "configMapKeyRef", "name"), "ConfigMap", ref.Name, "", ref.Optional)
		i.use(under(at, "valueFrom", "configMapKeyRef", "key"), "ConfigMap", ref.Name, ref.Key, ref.Optional)
	}
	if ref := e.ValueFrom.SecretKeyRef; ref != nil {
		i.use(under(at, "valueFrom", "secretKeyRef", "name"), "Secret", ref.Name, "", ref.Optional)
		i.use(under(at, "valueFrom", "secretKeyRef", "key"), "Secret", ref.Name, ref.Key, ref.Optional)
	}
}

func (i *inspection) ports(at []any, c *corev1.Container) {
	type id struct {
		port     int32
		protocol corev1.Protocol
	}
	seen := map[id]int{}
	for n, p := range c.Ports {
		i.address(under(at, "ports", n, "hostIP"), p.HostIP)
		if first, ok := seen[id{p.ContainerPort, p.Protocol}]; ok {
			i.warn(under(at, "ports", n, "containerPort"), "%d/%s is in ports[%d] already", p.ContainerPort, p.Protocol, first)
			continue
		}
		seen[id{p.ContainerPort, p.Protocol}] = n
	}
}

func (i *inspection) resources(at []any, r corev1.ResourceRequirements) {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		request, asked := r.Requests[name]
		limit, limited := r.Limits[name]
		if asked && limited && request.Cmp(limit) > 0 {
			i.fail(under(at, "requests", string(name)), "%s is more than the limit, %s", request.String(), limit.String())
		}
	}
	i.wholeNumbers(under(at, "requests"), r.Requests)
	i.wholeNumbers(under(at, "limits"), r.Limits)
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[name]
		switch limit, limited := r.Limits[name]; {
		case !api.IsExtended(string(name)):
		case !limited:
			i.fail(under(at, "requests", string(name)), "has no limit: write limits as well, with the same number, for nobody gets more of it than was asked for")
		case request.Cmp(limit) != 0:
			i.fail(under(at, "requests", string(name)), "%s is not the limit, %s: nobody gets more of it than was asked for", request.String(), limit.String())
		}
	}
}

// wholeNumbers refuses parts of what can only be had as a whole.
func (i *inspection) wholeNumbers(at []any, list corev1.ResourceList) {
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if q := list[name]; api.IsExtended(string(name)) && q.MilliValue()%1000 != 0 {
			i.fail(under(at, string(name)), "%s is not a whole number", q.String())
		}
	}
}

// probe checks a probe; once is one that a single success must satisfy.
func (i *inspection) probe(at []any, c *corev1.Container, p *corev1.Probe, once bool) {
	if p == nil {
		return
	}
	if once && p.SuccessThreshold != 1 {
		i.fail(under(at, "successThreshold"), "%d is not 1, which a %s must have", p.SuccessThreshold, probeWords(at))
	}
	if p.Exec != nil && len(p.Exec.Command) == 0 {
		i.fail(under(at, "exec", "command"), "is empty: write the program and its arguments")
	}
	if p.HTTPGet != nil {
		i.portName(under(at, "httpGet", "port"), c, p.HTTPGet.Port)
	}
	if p.TCPSocket != nil {
		i.portName(under(at, "tcpSocket", "port"), c, p.TCPSocket.Port)
	}
}

// probeWords names a probe as people say it.
func probeWords(at []any) string {
	if at[len(at)-1] == "livenessProbe" {
		return "liveness probe"
	}
	return "startup probe"
}

func (i *inspection) handler(at []any, c *corev1.Container, h *corev1.LifecycleHandler) {
	if h == nil {
		return
	}
	if h.Exec != nil && len(h.Exec.Command) == 0 {
		i.fail(under(at, "exec", "command"), "is empty: write the program and its arguments")
	}
	if h.HTTPGet != nil {
		i.portName(under(at, "httpGet", "port"), c, h.HTTPGet.Port)
	}
}

// portName holds a port by name against the container's ports.
func (i *inspection) portName(at []any, c *corev1.Container, port intstr.IntOrString) {
	if port.Type != intstr.String {
		return
	}
	if !slices.ContainsFunc(c.Ports, func(cp corev1.ContainerPort) bool { return cp.Name == port.StrVal }) {
		i.fail(at, "%q is not the name of a port of the container", port.StrVal)
	}
}
