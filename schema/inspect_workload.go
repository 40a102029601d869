package schema

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// templatePath is where a workload's pod stands.
func templatePath() []any { return []any{"spec", "template", "spec"} }

func finishPod(i *inspection, p *corev1.Pod) {
	defaultPodSpec(&p.Spec)
	i.podSpec([]any{"spec"}, &p.Spec, nil)
}

// template checks the pod of a workload that keeps its pods running.
func (i *inspection) template(t *corev1.PodTemplateSpec, claims []corev1.PersistentVolumeClaim) {
	at := templatePath()
	defaultPodSpec(&t.Spec)
	i.podSpec(at, &t.Spec, claims)
	if p := t.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		i.fail(under(at, "restartPolicy"), "%q is not Always: a %s keeps its pods running", p, i.ref.Kind)
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		i.fail(under(at, "activeDeadlineSeconds"), "may not be set: a %s keeps its pods running", i.ref.Kind)
	}
}

func finishDeployment(i *inspection, d *appsv1.Deployment) {
	defaultDeployment(d)
	i.template(&d.Spec.Template, nil)
	i.selector(d.Spec.Selector, d.Spec.Template.Labels)
	i.strategy(&d.Spec)
	if d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds <= d.Spec.MinReadySeconds {
		i.fail([]any{"spec", "progressDeadlineSeconds"}, "%d is not more than minReadySeconds (%d)", *d.Spec.ProgressDeadlineSeconds, d.Spec.MinReadySeconds)
	}
}

func (i *inspection) strategy(spec *appsv1.DeploymentSpec) {
	at := []any{"spec", "strategy", "rollingUpdate"}
	r := spec.Strategy.RollingUpdate
	if spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		if r != nil {
			i.fail(at, "may not be set when type is Recreate: remove it")
		}
		return
	}
	if r == nil {
		return
	}
	if isZero(r.MaxSurge) && isZero(r.MaxUnavailable) {
		i.fail(at, "maxSurge and maxUnavailable are both 0: no pod could ever be replaced")
	}
	i.share(under(at, "maxUnavailable"), r.MaxUnavailable)
}

func finishReplicaSet(i *inspection, r *appsv1.ReplicaSet) {
	i.template(&r.Spec.Template, nil)
	i.selector(r.Spec.Selector, r.Spec.Template.Labels)
}

func finishReplicationController(i *inspection, r *corev1.ReplicationController) {
	defaultReplicationController(r)
	if r.Spec.Template == nil {
		return
	}
	i.template(r.Spec.Template, nil)
	at := []any{"spec", "selector"}
	selector, template := labels.Set(r.Spec.Selector), labels.Set(r.Spec.Template.Labels)
	switch {
	case len(selector) == 0:
		i.fail(at, "is empty, and the template has no labels: write labels into the template")
	case !selector.AsSelector().Matches(template):
		i.fail(at, "%s does not match the labels of the template (%s): they must agree", selector, labels.FormatLabels(template))
	}
}

func finishStatefulSet(i *inspection, s *appsv1.StatefulSet) {
	defaultStatefulSet(s)
	i.template(&s.Spec.Template, s.Spec.VolumeClaimTemplates)
	i.selector(s.Spec.Selector, s.Spec.Template.Labels)
	seen := map[string]int{}
	for n := range s.Spec.VolumeClaimTemplates {
		claim, at := &s.Spec.VolumeClaimTemplates[n], []any{"spec", "volumeClaimTemplates", n}
		if first, ok := seen[claim.Name]; ok {
			i.fail(under(at, "metadata", "name"), "%q is taken by volumeClaimTemplates[%d]: each name must be unique", claim.Name, first)
		}
		seen[claim.Name] = n
		i.claim(under(at, "spec"), &claim.Spec)
	}
	at := []any{"spec", "updateStrategy", "rollingUpdate"}
	r := s.Spec.UpdateStrategy.RollingUpdate
	switch {
	case r == nil:
	case s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType:
		i.fail(at, "may not be set when type is OnDelete: remove it")
	case isZero(r.MaxUnavailable):
		i.fail(under(at, "maxUnavailable"), "is 0: no pod could ever be replaced")
	default:
		i.share(under(at, "maxUnavailable"), r.MaxUnavailable)
	}
	if s.Spec.ServiceName != "" {
		i.mention([]any{"spec", "serviceName"}, "Service", s.Spec.ServiceName)
	}
}

func finishDaemonSet(i *inspection, d *appsv1.DaemonSet) {
	defaultDaemonSet(d)
	i.template(&d.Spec.Template, nil)
	i.selector(d.Spec.Selector, d.Spec.Template.Labels)
	at := []any{"spec", "updateStrategy", "rollingUpdate"}
	r := d.Spec.UpdateStrategy.RollingUpdate
	if r == nil {
		return
	}
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		i.fail(at, "may not be set when type is OnDelete: remove it")
		return
	}
	none := func(v *intstr.IntOrString) bool { return v == nil || isZero(v) }
	switch {
	case none(r.MaxSurge) && none(r.MaxUnavailable):
		i.fail(at, "maxSurge and maxUnavailable are both 0: no pod could ever be replaced")
	case !none(r.MaxSurge) && !none(r.MaxUnavailable):
		i.fail(at, "has both maxSurge (%s) and maxUnavailable (%s): set one of them to 0", r.MaxSurge, r.MaxUnavailable)
	}
	i.share(under(at, "maxUnavailable"), r.MaxUnavailable)
	i.share(under(at, "maxSurge"), r.MaxSurge)
}

// selector holds a workload's selector against the labels of its template.
func (i *inspection) selector(selector *metav1.LabelSelector, template map[string]string) {
	at := []any{"spec", "selector"}
	before := len(i.problems)
	i.labelSelector(at, selector)
	if len(i.problems) > before {
		return
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	switch {
	case err != nil:
		i.fail(at, "%v", err)
	case s.Empty():
		i.fail(at, "is empty: write matchLabels with labels of the template")
	case !s.Matches(labels.Set(template)):
		i.fail(at, "%s does not match the labels of the template (%s): they must agree", s, labels.FormatLabels(template))
	}
}
