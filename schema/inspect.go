package schema

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/api"
)

// An inspection checks the rules across the fields of one typed object, and gathers what the object says of others.
type inspection struct {
	tree     *value
	ref      api.Ref
	problems []api.Problem
	uses     []use
}

// A use is a mention of another object that must exist.
type use struct {
	target   api.Ref
	key      string // of a config map; empty is the whole
	optional bool
	source   api.Position
	field    string
}

// under joins field names and list indices.
func under(base []any, steps ...any) []any { return slices.Concat(base, steps) }

func (i *inspection) fail(at []any, format string, args ...any) { i.report(false, at, format, args...) }

func (i *inspection) warn(at []any, format string, args ...any) { i.report(true, at, format, args...) }

func (i *inspection) report(warning bool, at []any, format string, args ...any) {
	i.problems = append(i.problems, api.Problem{
		Source: i.tree.at(at).pos, Ref: i.ref, Field: fieldPath(at), Message: fmt.Sprintf(format, args...), Warning: warning,
	})
}

// useConfigMap notes that the object names a config map, or with a key a part of it.
func (i *inspection) useConfigMap(at []any, name, key string, optional *bool) {
	i.uses = append(i.uses, use{
		target: api.Ref{Kind: "ConfigMap", Namespace: i.ref.Namespace, Name: name}, key: key, optional: optional != nil && *optional,
		source: i.tree.at(at).pos, field: fieldPath(at),
	})
}

func finishNode(i *inspection, n *corev1.Node) {
	type id struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := map[id]bool{}
	for t, taint := range n.Spec.Taints {
		k := id{taint.Key, taint.Effect}
		if seen[k] {
			i.fail([]any{"spec", "taints", t}, "a taint %s with effect %s is there already", taint.Key, taint.Effect)
		}
		seen[k] = true
	}
}

// maxConfigMap is how much a config map may hold, as in Kubernetes: 1 MiB.
const maxConfigMap = 1 << 20

func finishConfigMap(i *inspection, m *corev1.ConfigMap) {
	size := 0
	for k, v := range m.Data {
		size += len(k) + len(v)
	}
	for k, v := range m.BinaryData {
		size += len(k) + len(v)
		if _, ok := m.Data[k]; ok {
			i.fail([]any{"binaryData", k}, "the key is in data too: keep one of them")
		}
	}
	if size > maxConfigMap {
		i.fail([]any{"data"}, "holds %d bytes, but a config map may hold %d at most", size, maxConfigMap)
	}
}

func finishService(i *inspection, s *corev1.Service) {
	defaultService(s)
	if len(s.Spec.Selector) == 0 {
		i.fail([]any{"spec", "selector"}, "is empty: write the labels of the pods that take the connections")
	}
	type id struct {
		port     int32
		protocol corev1.Protocol
	}
	seen := map[id]int{}
	for n, p := range s.Spec.Ports {
		at := []any{"spec", "ports", n}
		if p.Name == "" && len(s.Spec.Ports) > 1 {
			i.fail(under(at, "name"), "is required where there are several ports")
		}
		if first, ok := seen[id{p.Port, p.Protocol}]; ok {
			i.fail(under(at, "port"), "%d/%s is taken by ports[%d]", p.Port, p.Protocol, first)
		}
		seen[id{p.Port, p.Protocol}] = n
	}
	if ips := s.Spec.ClusterIPs; len(ips) > 0 && ips[0] != s.Spec.ClusterIP {
		i.fail([]any{"spec", "clusterIPs"}, "%s is not the clusterIP: write clusterIP alone", ips[0])
	}
}

func finishPod(i *inspection, p *corev1.Pod) {
	defaultPodSpec(&p.Spec)
	i.podSpec([]any{"spec"}, &p.Spec)
}

func finishDeployment(i *inspection, d *appsv1.Deployment) {
	defaultDeployment(d)
	base := []any{"spec", "template", "spec"}
	i.podSpec(base, &d.Spec.Template.Spec)
	if p := d.Spec.Template.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		i.fail(under(base, "restartPolicy"), "%q is not Always: a Deployment keeps its pods running", p)
	}
	i.selector([]any{"spec"}, d.Spec.Selector, d.Spec.Template.Labels)
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
	zero := func(v *intstr.IntOrString) bool { return v != nil && (v.String() == "0" || v.String() == "0%") }
	if r != nil && zero(r.MaxSurge) && zero(r.MaxUnavailable) {
		i.fail(at, "maxSurge and maxUnavailable are both 0: no pod could ever be replaced")
	}
	if r != nil && r.MaxUnavailable != nil {
		if percent, err := intstr.GetScaledValueFromIntOrPercent(r.MaxUnavailable, 100, true); err == nil && r.MaxUnavailable.Type == intstr.String && percent > 100 {
			i.fail(under(at, "maxUnavailable"), "%s is more than 100%%", r.MaxUnavailable)
		}
	}
}

// selector holds a workload's selector against the labels of its template.
func (i *inspection) selector(at []any, selector *metav1.LabelSelector, template map[string]string) {
	at = under(at, "selector")
	for n, r := range selector.MatchExpressions {
		needsValues := r.Operator == metav1.LabelSelectorOpIn || r.Operator == metav1.LabelSelectorOpNotIn
		if needsValues != (len(r.Values) > 0) {
			i.fail(under(at, "matchExpressions", n, "values"), "must hold values for In and NotIn, and none for Exists and DoesNotExist")
			return
		}
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
