package schema

import (
	"cmp"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// The priorities of the classes that every cluster has.
const (
	clusterCritical = 2_000_000_000
	nodeCritical    = 2_000_001_000
)

// A priorityClass is what a class gives to a pod; nil stands for no class, which leaves a pod's fields as they are.
type priorityClass struct {
	name   string
	value  int32
	policy *corev1.PreemptionPolicy
}

// priorities fills in the priority of pods by their class, as Kubernetes does when it admits them: that of the class they
// name, or of the one that is the default for all.
func (l *linker) priorities() {
	fallback := l.defaultClass()
	for _, d := range l.declared {
		if !d.right() {
			continue
		}
		spec := podSpecOf(d.value)
		if spec == nil {
			continue
		}
		class := fallback
		if spec.PriorityClassName != "" {
			class = l.class(spec.PriorityClassName)
		}
		l.prioritize(d, spec, class)
	}
}

// defaultClass is the class of pods that name none. Of several, that of the lowest value counts, as in Kubernetes.
func (l *linker) defaultClass() *priorityClass {
	var lowest *schedulingv1.PriorityClass
	for _, d := range l.declared {
		if c, ok := d.value.(*schedulingv1.PriorityClass); ok && d.stands() && c.GlobalDefault && (lowest == nil || c.Value < lowest.Value) {
			lowest = c
		}
	}
	if lowest == nil {
		return nil
	}
	return &priorityClass{lowest.Name, lowest.Value, lowest.PreemptionPolicy}
}

// class finds a class by its name; nil if there is none.
func (l *linker) class(name string) *priorityClass {
	switch name {
	case "system-cluster-critical":
		return &priorityClass{name: name, value: clusterCritical}
	case "system-node-critical":
		return &priorityClass{name: name, value: nodeCritical}
	}
	if d := l.find(api.Ref{Kind: "PriorityClass", Name: name}); d != nil && d.stands() {
		if c, ok := d.value.(*schedulingv1.PriorityClass); ok {
			return &priorityClass{name, c.Value, c.PreemptionPolicy}
		}
	}
	return nil
}

// prioritize gives a workload's pods what their class says. What they say themselves may not differ.
func (l *linker) prioritize(d *declared, spec *corev1.PodSpec, class *priorityClass) {
	if class == nil {
		if spec.Priority != nil && *spec.Priority != 0 && spec.PriorityClassName == "" {
			l.at(d.ref, false, podSpecField(d.value)+".priority", "%d is not the pod's priority, which its class gives: write a priorityClassName", *spec.Priority)
			l.quarantine(d.ref)
		}
		return
	}
	policy := cmp.Or(class.policy, new(corev1.PreemptLowerPriority))
	switch {
	case spec.Priority != nil && *spec.Priority != class.value:
		l.at(d.ref, false, podSpecField(d.value)+".priority", "%d is not the value of PriorityClass %s, %d: remove it", *spec.Priority, class.name, class.value)
		l.quarantine(d.ref)
		return
	case spec.PreemptionPolicy != nil && *spec.PreemptionPolicy != *policy:
		l.at(d.ref, false, podSpecField(d.value)+".preemptionPolicy", "%s is not that of PriorityClass %s, %s: remove it", *spec.PreemptionPolicy, class.name, *policy)
		l.quarantine(d.ref)
		return
	}
	value := class.value
	l.change(d.ref, func(d *declared) {
		d.value = withPodSpec(d.value, func(spec *corev1.PodSpec) {
			spec.Priority, spec.PreemptionPolicy, spec.PriorityClassName = &value, policy, class.name
		})
	})
}

// podSpecField is where a workload has the spec of its pods.
func podSpecField(object runtime.Object) string {
	switch object.(type) {
	case *corev1.Pod:
		return "spec"
	case *batchv1.CronJob:
		return "spec.jobTemplate.spec.template.spec"
	}
	return "spec.template.spec"
}

// podSpecOf is the spec of the pods that an object is, or makes; nil if it makes none.
func podSpecOf(object runtime.Object) *corev1.PodSpec {
	switch v := object.(type) {
	case *corev1.Pod:
		return &v.Spec
	case *corev1.ReplicationController:
		if v.Spec.Template != nil {
			return &v.Spec.Template.Spec
		}
	case *appsv1.ReplicaSet:
		return &v.Spec.Template.Spec
	case *appsv1.Deployment:
		return &v.Spec.Template.Spec
	case *appsv1.StatefulSet:
		return &v.Spec.Template.Spec
	case *appsv1.DaemonSet:
		return &v.Spec.Template.Spec
	case *batchv1.Job:
		return &v.Spec.Template.Spec
	case *batchv1.CronJob:
		return &v.Spec.JobTemplate.Spec.Template.Spec
	}
	return nil
}

// withPodSpec is a copy of a workload, in which only the spec of its pods is other. What is deeper is shared.
func withPodSpec(object runtime.Object, change func(*corev1.PodSpec)) runtime.Object {
	object = shallow(object)
	change(podSpecOf(object))
	return object
}

func shallow(object runtime.Object) runtime.Object {
	switch v := object.(type) {
	case *corev1.Pod:
		return new(*v)
	case *corev1.ReplicationController:
		copied := *v
		if v.Spec.Template != nil {
			copied.Spec.Template = new(*v.Spec.Template)
		}
		return &copied
	case *appsv1.ReplicaSet:
		return new(*v)
	case *appsv1.Deployment:
		return new(*v)
	case *appsv1.StatefulSet:
		return new(*v)
	case *appsv1.DaemonSet:
		return new(*v)
	case *batchv1.Job:
		return new(*v)
	case *batchv1.CronJob:
		return new(*v)
	}
	return object
}
