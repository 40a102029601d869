package schema

import (
	"math"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
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
}

func defaultStatefulSet(s *appsv1.StatefulSet) {
	u := &s.Spec.UpdateStrategy
	if u.Type == appsv1.RollingUpdateStatefulSetStrategyType && u.RollingUpdate == nil {
		u.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32)}
	}
}

func defaultDaemonSet(d *appsv1.DaemonSet) {
	u := &d.Spec.UpdateStrategy
	if u.Type == appsv1.RollingUpdateDaemonSetStrategyType && u.RollingUpdate == nil {
		one, none := intstr.FromInt32(1), intstr.FromInt32(0)
		u.RollingUpdate = &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &one, MaxSurge: &none}
	}
}

func defaultReplicationController(r *corev1.ReplicationController) {
	if len(r.Spec.Selector) == 0 && r.Spec.Template != nil {
		r.Spec.Selector = r.Spec.Template.Labels
	}
}

func defaultJob(s *batchv1.JobSpec) {
	if s.Parallelism == nil {
		one := int32(1)
		if s.Completions == nil {
			completions := one
			s.Completions = &completions
		}
		s.Parallelism = &one
	}
	if s.BackoffLimit == nil {
		limit := int32(6)
		if s.BackoffLimitPerIndex != nil {
			limit = math.MaxInt32
		}
		s.BackoffLimit = &limit
	}
	if s.PodReplacementPolicy == nil {
		policy := batchv1.TerminatingOrFailed
		if s.PodFailurePolicy != nil {
			policy = batchv1.Failed
		}
		s.PodReplacementPolicy = &policy
	}
	if s.Suspend == nil {
		s.Suspend = new(bool)
	}
}

func defaultPodSpec(spec *corev1.PodSpec) {
	// serviceAccount is the old name of serviceAccountName. Where both stand and differ, the old one stays to be warned of.
	if spec.ServiceAccountName == "" {
		spec.ServiceAccountName = spec.DeprecatedServiceAccount
	}
	if spec.DeprecatedServiceAccount == spec.ServiceAccountName {
		spec.DeprecatedServiceAccount = ""
	}
	for i := range spec.Volumes {
		if spec.Volumes[i].VolumeSource == (corev1.VolumeSource{}) {
			spec.Volumes[i].EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
	}
	for i := range spec.InitContainers {
		defaultContainer(&spec.InitContainers[i])
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
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP && (s.Spec.SessionAffinityConfig == nil || s.Spec.SessionAffinityConfig.ClientIP == nil) {
		seconds := corev1.DefaultClientIPServiceAffinitySeconds
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
	external := s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
	if external && s.Spec.ExternalTrafficPolicy == "" {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
}

// defaultSecret writes text into data, where Kubernetes keeps it.
func defaultSecret(s *corev1.Secret) {
	for k, v := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}

func defaultNetworkPolicy(p *networkingv1.NetworkPolicy) {
	if len(p.Spec.PolicyTypes) > 0 {
		return
	}
	p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	if len(p.Spec.Egress) > 0 {
		p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	}
}

func defaultHorizontalPodAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) {
	if len(h.Spec.Metrics) == 0 {
		percent := int32(80)
		h.Spec.Metrics = []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricSource{
				Name:   corev1.ResourceCPU,
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
			},
		}}
	}
	b := h.Spec.Behavior
	if b == nil {
		return
	}
	largest := autoscalingv2.MaxChangePolicySelect
	every := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}
	four := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15}
	fill := func(rules **autoscalingv2.HPAScalingRules, window *int32, policies ...autoscalingv2.HPAScalingPolicy) {
		if *rules == nil {
			*rules = &autoscalingv2.HPAScalingRules{SelectPolicy: &largest}
		}
		if (*rules).StabilizationWindowSeconds == nil {
			(*rules).StabilizationWindowSeconds = window
		}
		if len((*rules).Policies) == 0 {
			(*rules).Policies = policies
		}
	}
	fill(&b.ScaleUp, new(int32), four, every)
	fill(&b.ScaleDown, nil, every)
}
