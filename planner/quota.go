package planner

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
)

// A quota is a ResourceQuota in one pass, with what is used of it. What has ended or is lost uses nothing.
type quota struct {
	ref  api.Ref
	spec *corev1.ResourceQuotaSpec
	used corev1.ResourceList
}

// quotasOf gives the quotas of a namespace, with what its pods use.
func (p *pass) quotasOf(namespace string) []*quota {
	if quotas, ok := p.quotas[namespace]; ok || len(p.want.quotas) == 0 {
		return quotas
	}
	var quotas []*quota
	for _, o := range p.want.quotas {
		if v, ok := o.Value.(*corev1.ResourceQuota); ok && o.Ref.Namespace == namespace {
			quotas = append(quotas, &quota{ref: o.Ref, spec: &v.Spec, used: corev1.ResourceList{}})
		}
	}
	if len(quotas) == 0 {
		p.quotas[namespace] = nil
		return nil
	}
	for pod := range p.seen.in(namespace) {
		if isEnded(pod) || pod.Lost {
			continue
		}
		cost := costOf(p.in.Templates[pod.Template], pod.Requests, pod.Extended)
		for _, q := range quotas {
			if q.covers(p.in.Templates[pod.Template]) {
				q.take(cost)
			}
		}
	}
	p.quotas[namespace] = quotas
	return quotas
}

// costOf is what a pod takes of a quota. Where its template is not at hand, its limits are not known.
func costOf(template *api.PodTemplate, requests api.Resources, extended map[string]int64) corev1.ResourceList {
	cost := corev1.ResourceList{}
	for name, q := range map[corev1.ResourceName]*resource.Quantity{
		corev1.ResourceCPU: resource.NewMilliQuantity(requests.MilliCPU, resource.DecimalSI), corev1.ResourceMemory: resource.NewQuantity(requests.Memory, resource.BinarySI),
	} {
		cost[name], cost["requests."+name] = *q, *q
	}
	for name, n := range extended {
		if api.IsExtended(name) {
			cost["requests."+corev1.ResourceName(name)] = *resource.NewQuantity(n, resource.DecimalSI)
		}
	}
	one := resource.MustParse("1")
	cost[corev1.ResourcePods], cost["count/pods"] = one, one
	if template != nil {
		for name, q := range podResources(&template.Spec).Limits {
			cost["limits."+name] = q
		}
	}
	return cost
}

// covers reports whether pods of the template fall under the quota's scopes. One that is not at hand falls under all.
func (q *quota) covers(template *api.PodTemplate) bool {
	if template == nil {
		return true
	}
	spec := &template.Spec
	in := func(scope corev1.ResourceQuotaScope) bool {
		switch scope {
		case corev1.ResourceQuotaScopeTerminating:
			return spec.ActiveDeadlineSeconds != nil
		case corev1.ResourceQuotaScopeNotTerminating:
			return spec.ActiveDeadlineSeconds == nil
		case corev1.ResourceQuotaScopeBestEffort:
			return api.QOSClass(spec) == corev1.PodQOSBestEffort
		case corev1.ResourceQuotaScopeNotBestEffort:
			return api.QOSClass(spec) != corev1.PodQOSBestEffort
		}
		return scope != corev1.ResourceQuotaScopePriorityClass || spec.PriorityClassName != ""
	}
	for _, scope := range q.spec.Scopes {
		if !in(scope) {
			return false
		}
	}
	if q.spec.ScopeSelector == nil {
		return true
	}
	for _, e := range q.spec.ScopeSelector.MatchExpressions {
		if e.ScopeName == corev1.ResourceQuotaScopePriorityClass {
			r := corev1.NodeSelectorRequirement{Operator: corev1.NodeSelectorOperator(e.Operator), Values: e.Values}
			if !api.MeetsRequirement(&r, spec.PriorityClassName, spec.PriorityClassName != "") {
				return false
			}
		} else if !in(e.ScopeName) {
			return false
		}
	}
	return true
}

func (q *quota) take(cost corev1.ResourceList) {
	for name, n := range cost {
		addQuantity(q.used, name, n)
	}
}

// exceeded says which bound one more pod would break; empty is none.
func (q *quota) exceeded(cost corev1.ResourceList) string {
	for _, name := range sortedNames(q.spec.Hard) {
		asked, asks := cost[name]
		if !asks {
			if strings.HasPrefix(string(name), "limits.") {
				return fmt.Sprintf("%s is bounded, and the pod has no such limit", name)
			}
			continue
		}
		used, hard := q.used[name], q.spec.Hard[name]
		total := used.DeepCopy()
		if total.Add(asked); total.Cmp(hard) > 0 {
			return fmt.Sprintf("%s: %s used and %s asked for, where %s may be", name, used.String(), asked.String(), hard.String())
		}
	}
	return ""
}

// admit takes a pod's share of the quotas of its namespace. A pod that there is no room for is not made, and its workload's
// problem told; others go on.
func (p *pass) admit(a *Action, template *api.PodTemplate) bool {
	quotas := p.quotasOf(a.Pod.Pod.Namespace)
	if len(quotas) == 0 {
		return true
	}
	cost := costOf(template, api.PodRequests(&template.Spec), api.PodExtended(&template.Spec))
	for _, q := range quotas {
		if !q.covers(template) {
			continue
		}
		if over := q.exceeded(cost); over != "" {
			p.refuse(a.Pod.Owner, fmt.Sprintf("%s leaves no room for a pod: %s", q.ref, over))
			return false
		}
	}
	for _, q := range quotas {
		if q.covers(template) {
			q.take(cost)
		}
	}
	return true
}

// refuse tells the problem of a workload, once.
func (p *pass) refuse(owner api.Ref, message string) {
	if p.refused[owner] {
		return
	}
	p.refused[owner], p.reads.alone = true, true
	var source api.Position
	if i, ok := slices.BinarySearchFunc(p.want.workloads, owner, func(w workload, ref api.Ref) int { return w.Ref.Compare(ref) }); ok {
		source = p.want.workloads[i].Source
	}
	p.plan.Problems = append(p.plan.Problems, api.Problem{Ref: owner, Source: source, Message: message, Warning: true})
}

// countedObjects are the names under which a quota counts objects of a kind.
var countedObjects = map[string][]corev1.ResourceName{
	"ConfigMap":             {"configmaps", "count/configmaps"},
	"CronJob":               {"count/cronjobs.batch"},
	"DaemonSet":             {"count/daemonsets.apps"},
	"Deployment":            {"count/deployments.apps"},
	"Job":                   {"count/jobs.batch"},
	"PersistentVolumeClaim": {"persistentvolumeclaims", "count/persistentvolumeclaims"},
	"ReplicaSet":            {"count/replicasets.apps"},
	"Secret":                {"secrets", "count/secrets"},
	"Service":               {"services", "count/services"},
	"StatefulSet":           {"count/statefulsets.apps"},
}

// countObjects tells the objects that are more than a quota lets a namespace have. They are in force nonetheless: Git has
// them, and which of them to take away is for a commit to say.
func (p *pass) countObjects() {
	if p.want.counts == nil {
		p.want.counts = p.counts()
	}
	p.plan.Problems = append(p.plan.Problems, p.want.counts...)
}

func (p *pass) counts() []api.Problem {
	problems := []api.Problem{}
	for _, o := range p.want.quotas {
		v, ok := o.Value.(*corev1.ResourceQuota)
		if !ok {
			continue
		}
		counts := map[corev1.ResourceName]int64{}
		for _, object := range p.in.Desired {
			if object.Ref.Namespace != o.Ref.Namespace {
				continue
			}
			for _, name := range countedObjects[object.Ref.Kind] {
				counts[name]++
			}
		}
		for _, name := range sortedNames(v.Spec.Hard) {
			if hard := v.Spec.Hard[name]; counts[name] > hard.Value() {
				problems = append(problems, api.Problem{Ref: o.Ref, Source: o.Source, Field: "spec.hard." + string(name), Message: fmt.Sprintf(
					"Git has %d in namespace %s, where %s may be: take some away, or raise it", counts[name], o.Ref.Namespace, hard.String())})
			}
		}
	}
	return problems
}
