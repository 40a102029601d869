package schema

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"headway.dev/headway/api"
)

// After is the result as what follows on earlier objects, those of the commit before or those in force, ordered by ref: an
// object that changes what may not change is not among its objects, but a problem, like one that is wrong by itself. So
// the earlier version stays in force. To make the change all the same, remove the object in one commit and add it in the
// next.
func (r *Result) After(earlier []api.Object) *Result {
	var problems []api.Problem
	kept := make([]api.Object, 0, len(r.Objects))
	for _, later := range r.Objects {
		i, found := slices.BinarySearchFunc(earlier, later.Ref, func(o api.Object, ref api.Ref) int { return o.Ref.Compare(ref) })
		if found {
			if changed := Immutable(earlier[i], later); len(changed) > 0 {
				problems = append(problems, changed...)
				continue
			}
		}
		kept = append(kept, later)
	}
	if len(problems) == 0 {
		return r
	}
	problems = slices.SortedStableFunc(slices.Values(slices.Concat(r.Problems, problems)), compareProblems)
	return &Result{Objects: kept, Problems: problems}
}

// Immutable compares an object with the same one of an earlier commit, and reports the fields that changed though they
// may not, as Kubernetes has them. Objects of different refs, or types, have nothing to compare. Both are as the compiler
// makes them, defaults filled in.
func Immutable(earlier, later api.Object) []api.Problem {
	if earlier.Ref != later.Ref {
		return nil
	}
	c := comparison{later: later}
	switch was := earlier.Value.(type) {
	case *appsv1.Deployment, *appsv1.ReplicaSet, *appsv1.DaemonSet, *appsv1.StatefulSet:
		c.workload(earlier, later)
	case *batchv1.Job:
		if is, ok := later.Value.(*batchv1.Job); ok {
			c.job(was, is)
		}
	case *corev1.PersistentVolumeClaim:
		if is, ok := later.Value.(*corev1.PersistentVolumeClaim); ok {
			c.claim(was, is)
		}
	case *corev1.PersistentVolume:
		if is, ok := later.Value.(*corev1.PersistentVolume); ok {
			c.same("spec", was.Spec.PersistentVolumeSource, is.Spec.PersistentVolumeSource, "a volume stays where it is: make another")
		}
	case *corev1.Service:
		if is, ok := later.Value.(*corev1.Service); ok {
			c.service(was, is)
		}
	case *corev1.Secret:
		if is, ok := later.Value.(*corev1.Secret); ok {
			c.same("type", was.Type, is.Type, recreate)
		}
	case *storagev1.StorageClass:
		if is, ok := later.Value.(*storagev1.StorageClass); ok {
			c.same("provisioner", was.Provisioner, is.Provisioner, recreate)
			c.same("parameters", was.Parameters, is.Parameters, recreate)
			c.same("reclaimPolicy", was.ReclaimPolicy, is.ReclaimPolicy, recreate)
			c.same("volumeBindingMode", was.VolumeBindingMode, is.VolumeBindingMode, recreate)
		}
	case *schedulingv1.PriorityClass:
		if is, ok := later.Value.(*schedulingv1.PriorityClass); ok {
			c.same("value", was.Value, is.Value, recreate)
			c.same("preemptionPolicy", was.PreemptionPolicy, is.PreemptionPolicy, recreate)
		}
	case *networkingv1.IngressClass:
		if is, ok := later.Value.(*networkingv1.IngressClass); ok {
			c.same("spec.controller", was.Spec.Controller, is.Spec.Controller, recreate)
		}
	case *discoveryv1.EndpointSlice:
		if is, ok := later.Value.(*discoveryv1.EndpointSlice); ok {
			c.same("addressType", was.AddressType, is.AddressType, recreate)
		}
	}
	return c.problems
}

// recreate says what to do about a field that cannot change.
const recreate = "give the object another name, or remove it in one commit and add it in the next"

// A comparison gathers what changed though it may not.
type comparison struct {
	later    api.Object
	problems []api.Problem
}

// same reports a field whose two values differ.
func (c *comparison) same(field string, was, is any, instead string) {
	if !equality.Semantic.DeepEqual(was, is) {
		c.changed(field, "", instead)
	}
}

// changed reports a field; from and to are shown where they are short.
func (c *comparison) changed(field, values, instead string) {
	c.problems = append(c.problems, api.Problem{
		Source: c.later.Source, Ref: c.later.Ref, Field: field, Message: fmt.Sprintf("changed%s, but may not: %s", values, instead),
	})
}

func (c *comparison) workload(earlier, later api.Object) {
	switch was := earlier.Value.(type) {
	case *appsv1.Deployment:
		if is, ok := later.Value.(*appsv1.Deployment); ok {
			c.same("spec.selector", was.Spec.Selector, is.Spec.Selector, recreate)
		}
	case *appsv1.ReplicaSet:
		if is, ok := later.Value.(*appsv1.ReplicaSet); ok {
			c.same("spec.selector", was.Spec.Selector, is.Spec.Selector, recreate)
		}
	case *appsv1.DaemonSet:
		if is, ok := later.Value.(*appsv1.DaemonSet); ok {
			c.same("spec.selector", was.Spec.Selector, is.Spec.Selector, recreate)
		}
	case *appsv1.StatefulSet:
		if is, ok := later.Value.(*appsv1.StatefulSet); ok {
			c.same("spec.selector", was.Spec.Selector, is.Spec.Selector, recreate)
			c.same("spec.serviceName", was.Spec.ServiceName, is.Spec.ServiceName, recreate)
			c.same("spec.podManagementPolicy", was.Spec.PodManagementPolicy, is.Spec.PodManagementPolicy, recreate)
			c.same("spec.volumeClaimTemplates", was.Spec.VolumeClaimTemplates, is.Spec.VolumeClaimTemplates, recreate)
		}
	}
}

// job lets a job with another template be any other: it runs anew (docs/decisions/0009-jobs-run-once-a-template.md). And an
// Indexed job that runs all of its pods at once may be scaled, by completions and parallelism together.
func (c *comparison) job(was, is *batchv1.Job) {
	const another = "a job that may have run stays as it is: change its template too, which runs it anew, or give it another name"
	if !equality.Semantic.DeepEqual(was.Spec.Template, is.Spec.Template) {
		return
	}
	elastic := is.Spec.CompletionMode != nil && *is.Spec.CompletionMode == batchv1.IndexedCompletion &&
		is.Spec.Completions != nil && is.Spec.Parallelism != nil && *is.Spec.Completions == *is.Spec.Parallelism
	if !elastic {
		c.same("spec.completions", was.Spec.Completions, is.Spec.Completions, another)
	}
	c.same("spec.completionMode", was.Spec.CompletionMode, is.Spec.CompletionMode, another)
	c.same("spec.podFailurePolicy", was.Spec.PodFailurePolicy, is.Spec.PodFailurePolicy, another)
	c.same("spec.successPolicy", was.Spec.SuccessPolicy, is.Spec.SuccessPolicy, another)
	c.same("spec.backoffLimitPerIndex", was.Spec.BackoffLimitPerIndex, is.Spec.BackoffLimitPerIndex, another)
}

// claim lets a claim grow, and nothing else. That the claim names its volume later is its binding, not a change.
func (c *comparison) claim(was, is *corev1.PersistentVolumeClaim) {
	a, b := was.Spec.DeepCopy(), is.Spec.DeepCopy()
	from, to := a.Resources.Requests[corev1.ResourceStorage], b.Resources.Requests[corev1.ResourceStorage]
	if to.Cmp(from) < 0 {
		c.changed("spec.resources.requests.storage", fmt.Sprintf(" from %s to %s", from.String(), to.String()), "a claim can only grow")
	}
	a.Resources, b.Resources = corev1.VolumeResourceRequirements{}, corev1.VolumeResourceRequirements{}
	if a.VolumeName == "" {
		b.VolumeName = ""
	}
	c.same("spec", a, b, "of a claim, only resources.requests.storage may grow; make another claim for anything else")
}

// service keeps an address that is written, and one that has none from getting one.
func (c *comparison) service(was, is *corev1.Service) {
	from, to := was.Spec.ClusterIP, is.Spec.ClusterIP
	alias := was.Spec.Type == corev1.ServiceTypeExternalName || is.Spec.Type == corev1.ServiceTypeExternalName
	headless := (from == corev1.ClusterIPNone) != (to == corev1.ClusterIPNone)
	if alias || from == to || !headless && (from == "" || to == "") {
		return
	}
	c.changed("spec.clusterIP", fmt.Sprintf(" from %q to %q", from, to), recreate)
}
