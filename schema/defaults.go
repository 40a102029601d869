package schema

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Defaults that depend on other fields, as Kubernetes has them; all others stand in CUE.

func defaultDeployment(d *appsv1.Deployment) {
	s := &d.Spec.Strategy
	if s.Type == appsv1.RollingUpdateDeploymentStrategyType && s.RollingUpdate == nil {
		quarter := intstr.FromString("25%")
		surge := quarter
		s.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxUnavailable: &quarter, MaxSurge: &surge}
	}
	defaultPodSpec(&d.Spec.Template.Spec)
}

func defaultPodSpec(spec *corev1.PodSpec) {
	for i := range spec.Volumes {
		if spec.Volumes[i].VolumeSource == (corev1.VolumeSource{}) {
			spec.Volumes[i].EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
	}
	for i := range spec.Containers {
		defaultContainer(&spec.Containers[i])
	}
}

func defaultContainer(c *corev1.Container) {
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = pullPolicy(c.Image)
	}
	for name, limit := range c.Resources.Limits {
		if _, ok := c.Resources.Requests[name]; ok {
			continue
		}
		if c.Resources.Requests == nil {
			c.Resources.Requests = corev1.ResourceList{}
		}
		c.Resources.Requests[name] = limit
	}
	if c.SecurityContext != nil && c.SecurityContext.Capabilities != nil {
		upper(c.SecurityContext.Capabilities.Add)
		upper(c.SecurityContext.Capabilities.Drop)
	}
}

// upper writes capabilities as the kernel's headers do: drop: [all] is common.
func upper(capabilities []corev1.Capability) {
	for i, c := range capabilities {
		capabilities[i] = corev1.Capability(strings.ToUpper(string(c)))
	}
}

// pullPolicy is Always for an image that may change under its name: tagged latest, or neither tagged nor pinned.
func pullPolicy(image string) corev1.PullPolicy {
	if strings.Contains(image, "@") {
		return corev1.PullIfNotPresent
	}
	_, tag, ok := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	if !ok || tag == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func defaultService(s *corev1.Service) {
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.TargetPort.IntVal == 0 && p.TargetPort.StrVal == "" {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
}
