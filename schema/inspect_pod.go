package schema

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// podSpec checks what the parts of a pod say of each other. Claims are those that a StatefulSet gives each pod.
func (i *inspection) podSpec(at []any, spec *corev1.PodSpec, claims []corev1.PersistentVolumeClaim) {
	volumes := make(map[string]bool, len(spec.Volumes)+len(claims))
	for n := range claims {
		volumes[claims[n].Name] = true
	}
	for n := range spec.Volumes {
		volumes[spec.Volumes[n].Name] = true
		i.volume(under(at, "volumes", n), &spec.Volumes[n])
	}
	names := make(map[string]bool, len(spec.Containers))
	for n := range spec.Containers {
		c := &spec.Containers[n]
		names[c.Name] = true
		here := under(at, "containers", n)
		i.container(here, c, volumes)
		if c.RestartPolicy != nil && len(c.RestartPolicyRules) == 0 && *c.RestartPolicy != corev1.ContainerRestartPolicy(spec.RestartPolicy) {
			i.fail(under(here, "restartPolicy"), "%q differs from the pod's: set restartPolicy on the pod", *c.RestartPolicy)
		}
	}
	for n := range spec.InitContainers {
		here := under(at, "initContainers", n)
		if names[spec.InitContainers[n].Name] {
			i.fail(under(here, "name"), "%q is the name of a container: each name must be unique", spec.InitContainers[n].Name)
		}
		i.initContainer(here, &spec.InitContainers[n], volumes)
	}
	for n, t := range spec.Tolerations {
		i.toleration(under(at, "tolerations", n), t)
	}
	if spec.Affinity != nil {
		i.affinity(under(at, "affinity"), spec.Affinity)
	}
	for n := range spec.TopologySpreadConstraints {
		c, here := &spec.TopologySpreadConstraints[n], under(at, "topologySpreadConstraints", n)
		i.labelSelector(under(here, "labelSelector"), c.LabelSelector)
		if c.MinDomains != nil && c.WhenUnsatisfiable != corev1.DoNotSchedule {
			i.fail(under(here, "minDomains"), "may be set only when whenUnsatisfiable is DoNotSchedule")
		}
	}
	for n, s := range spec.ImagePullSecrets {
		i.mention(under(at, "imagePullSecrets", n, "name"), "Secret", s.Name)
	}
	for n, a := range spec.HostAliases {
		i.address(under(at, "hostAliases", n, "ip"), a.IP)
	}
	i.podWide(at, spec)
}

// podWide checks the settings of the pod as a whole.
func (i *inspection) podWide(at []any, spec *corev1.PodSpec) {
	if spec.DeprecatedServiceAccount != "" && spec.ServiceAccountName != "" && spec.DeprecatedServiceAccount != spec.ServiceAccountName {
		i.warn(under(at, "serviceAccount"), "%q is not the serviceAccountName, which is what counts: remove it", spec.DeprecatedServiceAccount)
	}
	if c := spec.DNSConfig; c != nil {
		for n, s := range c.Nameservers {
			i.address(under(at, "dnsConfig", "nameservers", n), s)
		}
	}
	if spec.DNSPolicy == corev1.DNSNone && (spec.DNSConfig == nil || len(spec.DNSConfig.Nameservers) == 0) {
		i.fail(under(at, "dnsConfig", "nameservers"), "is required where dnsPolicy is None")
	}
	if spec.HostPID && spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace {
		i.fail(under(at, "shareProcessNamespace"), "may not be set beside hostPID")
	}
	if name := spec.PriorityClassName; name != "" && !strings.HasPrefix(name, "system-") {
		i.use(under(at, "priorityClassName"), "PriorityClass", name, "", nil)
		i.uses[len(i.uses)-1].target.Namespace = ""
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

func (i *inspection) affinity(at []any, a *corev1.Affinity) {
	const required, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
	if n := a.NodeAffinity; n != nil {
		i.nodeSelector(under(at, "nodeAffinity", required), n.RequiredDuringSchedulingIgnoredDuringExecution)
		for k := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			i.nodeSelectorTerm(under(at, "nodeAffinity", preferred, k, "preference"), &n.PreferredDuringSchedulingIgnoredDuringExecution[k].Preference)
		}
	}
	terms := func(at []any, all []corev1.PodAffinityTerm, weighted []corev1.WeightedPodAffinityTerm) {
		for k := range all {
			i.labelSelector(under(at, required, k, "labelSelector"), all[k].LabelSelector)
			i.labelSelector(under(at, required, k, "namespaceSelector"), all[k].NamespaceSelector)
		}
		for k := range weighted {
			i.labelSelector(under(at, preferred, k, "podAffinityTerm", "labelSelector"), weighted[k].PodAffinityTerm.LabelSelector)
			i.labelSelector(under(at, preferred, k, "podAffinityTerm", "namespaceSelector"), weighted[k].PodAffinityTerm.NamespaceSelector)
		}
	}
	if p := a.PodAffinity; p != nil {
		terms(under(at, "podAffinity"), p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		terms(under(at, "podAntiAffinity"), p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

func (i *inspection) nodeSelector(at []any, s *corev1.NodeSelector) {
	if s == nil {
		return
	}
	for n := range s.NodeSelectorTerms {
		i.nodeSelectorTerm(under(at, "nodeSelectorTerms", n), &s.NodeSelectorTerms[n])
	}
}

func (i *inspection) nodeSelectorTerm(at []any, t *corev1.NodeSelectorTerm) {
	for n, r := range t.MatchExpressions {
		here := under(at, "matchExpressions", n, "values")
		switch r.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			if len(r.Values) == 0 {
				i.fail(here, "must hold values for %s", r.Operator)
			}
		case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				i.fail(here, "must hold no values for %s", r.Operator)
			}
		case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
			if len(r.Values) != 1 || strings.Trim(strings.TrimPrefix(r.Values[0], "-"), "0123456789") != "" {
				i.fail(here, "must hold one whole number for %s", r.Operator)
			}
		}
	}
}

func (i *inspection) volume(at []any, v *corev1.Volume) {
	switch {
	case v.ConfigMap != nil:
		i.keys(under(at, "configMap"), "name", "ConfigMap", v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
	case v.Secret != nil:
		i.keys(under(at, "secret"), "secretName", "Secret", v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
	case v.Projected != nil:
		i.projections(under(at, "projected", "sources"), v.Projected.Sources)
	case v.PersistentVolumeClaim != nil:
		i.use(under(at, "persistentVolumeClaim", "claimName"), "PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName, "", nil)
	case v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil:
		i.claim(under(at, "ephemeral", "volumeClaimTemplate", "spec"), &v.Ephemeral.VolumeClaimTemplate.Spec)
	}
}

// keys notes the use of a config map or secret as files.
func (i *inspection) keys(at []any, field, kind, name string, items []corev1.KeyToPath, optional *bool) {
	i.use(under(at, field), kind, name, "", optional)
	for n, item := range items {
		i.use(under(at, "items", n, "key"), kind, name, item.Key, optional)
	}
}

func (i *inspection) projections(at []any, sources []corev1.VolumeProjection) {
	for n, s := range sources {
		here := under(at, n)
		if s.ConfigMap != nil {
			i.keys(under(here, "configMap"), "name", "ConfigMap", s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional)
		}
		if s.Secret != nil {
			i.keys(under(here, "secret"), "name", "Secret", s.Secret.Name, s.Secret.Items, s.Secret.Optional)
		}
	}
}

// isVolume holds a mount's name against the volumes of the pod.
func (i *inspection) isVolume(at []any, name string, volumes map[string]bool) {
	if volumes[name] {
		return
	}
	names := slices.Sorted(maps.Keys(volumes))
	hint := "the pod has none"
	if len(names) > 0 {
		hint = "the pod has " + strings.Join(names, ", ")
	}
	i.fail(at, "%q is not a volume of the pod: %s", name, hint)
}
