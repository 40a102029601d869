package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
)

// The kinds of workloads of a tree.
const (
	deployment  = "Deployment"
	statefulSet = "StatefulSet"
	daemonSet   = "DaemonSet"
	job         = "Job"
	cronJob     = "CronJob"
	// nodeKind is no workload, but a machine that a tree drains; its name is the machine's.
	nodeKind = "Node"
	// clusterKind holds the settings of the fleet; its name is fleetName.
	clusterKind = "Cluster"
)

// fleetName is the name of the settings in a tree.
const fleetName = "fleet"

// The flaws of an image: what its name ends in says how its pods behave.
const (
	broken = "-broken" // it ends at once, every time
	never  = "-never"  // it never gets ready
	slow   = "-slow"   // it takes its time to get ready
	flaky  = "-flaky"  // of a Job: some runs fail
)

// An app is one workload of a tree, with what belongs to it. It is a value: two that are equal make equal objects.
type app struct {
	kind     string
	name     string
	version  int
	flaw     string
	replicas int // of a Job, the completions
	// surge and unavailable are those of a Deployment or a DaemonSet; both 0 with recreate.
	surge, unavailable int
	recreate           bool
	parallel           bool // of a StatefulSet; of a Job: all at once
	indexed            bool
	config             int // the version of its config map; 0 is none
	service            bool
	suspended          bool
	budgeted           bool // a budget lets one pod at a time be taken away
	minReady           int  // seconds
	deadline           int  // of a Deployment's rollout, in seconds
	reverts            bool // of the settings: what fails is taken back in Git
	atomic             bool // of the settings, or of a workload in the one group that there is
}

func (a app) ref() api.Ref { return api.Ref{Kind: a.kind, Namespace: "shop", Name: a.name} }

// image is what the app's pods run.
func (a app) image() string { return fmt.Sprintf("%s:%d%s", a.name, a.version, a.flaw) }

func (a app) String() string {
	switch a.kind {
	case nodeKind:
		return "drained " + a.name
	case clusterKind:
		return fmt.Sprintf("a fleet with reverts %t, atomic %t", a.reverts, a.atomic)
	}
	s := fmt.Sprintf("%s %s x%d", strings.ToLower(a.kind), a.image(), a.replicas)
	if a.config > 0 {
		s += fmt.Sprintf(" config %d", a.config)
	}
	if a.service {
		s += " served"
	}
	if a.suspended {
		s += " suspended"
	}
	if a.budgeted {
		s += " budgeted"
	}
	if a.atomic {
		s += " atomic"
	}
	return s
}

// A tree is what a commit declares: its apps by name. It is never changed.
type tree map[string]app

func (t tree) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		all = append(all, t[name].String())
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// with gives the tree with an app put in, or in its place.
func (t tree) with(a app) tree {
	next := maps.Clone(t)
	if next == nil {
		next = tree{}
	}
	next[a.name] = a
	return next
}

// without gives the tree without an app.
func (t tree) without(name string) tree {
	next := maps.Clone(t)
	delete(next, name)
	return next
}

// objects are what the tree declares, ordered by ref.
func (t tree) objects() []api.Object {
	var objects []api.Object
	for _, name := range slices.Sorted(maps.Keys(t)) {
		objects = append(objects, t[name].objects()...)
	}
	slices.SortFunc(objects, func(a, b api.Object) int { return a.Ref.Compare(b.Ref) })
	return objects
}

// objects are the workload and what belongs to it, with the defaults of Kubernetes.
func (a app) objects() []api.Object {
	if a.kind == clusterKind {
		return []api.Object{a.settings()}
	}
	if a.kind == nodeKind {
		return []api.Object{{
			Ref: api.Ref{Kind: nodeKind, Name: a.name},
			Value: &corev1.Node{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: nodeKind},
				ObjectMeta: metav1.ObjectMeta{Name: a.name, Annotations: map[string]string{"headway.dev/drain": "true"}},
			},
		}}
	}
	objects := []api.Object{a.workload()}
	if a.budgeted {
		one := intstr.FromInt32(1)
		objects = append(objects, api.Object{
			Ref: api.Ref{Kind: "PodDisruptionBudget", Namespace: "shop", Name: a.name},
			Value: &policyv1.PodDisruptionBudget{
				TypeMeta: metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}, ObjectMeta: a.meta(),
				Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: a.labels()}},
			},
		})
	}
	if a.service {
		objects = append(objects, api.Object{
			Ref: api.Ref{Kind: "Service", Namespace: "shop", Name: a.name},
			Value: &corev1.Service{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: a.meta(),
				Spec: corev1.ServiceSpec{
					Type: corev1.ServiceTypeClusterIP, SessionAffinity: corev1.ServiceAffinityNone, Selector: a.labels(),
					Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080)}},
				},
			},
		})
	}
	if a.config > 0 {
		objects = append(objects, api.Object{
			Ref: api.Ref{Kind: "ConfigMap", Namespace: "shop", Name: a.name},
			Value: &corev1.ConfigMap{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: a.meta(),
				Data: map[string]string{"version": fmt.Sprint(a.config)},
			},
		})
	}
	return objects
}

// settings are those of the fleet.
func (a app) settings() api.Object {
	c := &api.Cluster{TypeMeta: metav1.TypeMeta{APIVersion: api.ClusterVersion, Kind: clusterKind}, ObjectMeta: metav1.ObjectMeta{Name: a.name}}
	c.Spec.Rollback, c.Spec.Atomic = api.RollbackHold, a.atomic
	if a.reverts {
		c.Spec.Rollback = api.RollbackRevert
	}
	return api.Object{Ref: api.Ref{Kind: clusterKind, Name: a.name}, Value: c}
}

func (a app) meta() metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: "shop", Name: a.name}
	if a.atomic {
		m.Annotations = map[string]string{planner.AtomicAnnotation: "together"}
	}
	return m
}

func (a app) labels() map[string]string { return map[string]string{"app": a.name} }

func (a app) workload() api.Object {
	apps := metav1.TypeMeta{APIVersion: "apps/v1", Kind: a.kind}
	batch := metav1.TypeMeta{APIVersion: "batch/v1", Kind: a.kind}
	o := api.Object{Ref: a.ref(), Source: api.Position{File: a.name + ".yaml", Line: 1}}
	selector := &metav1.LabelSelector{MatchLabels: a.labels()}
	replicas, history, minReady := int32(a.replicas), int32(10), int32(a.minReady)
	surge, unavailable := intstr.FromInt(a.surge), intstr.FromInt(a.unavailable)
	switch a.kind {
	case deployment:
		deadline := int32(a.deadline)
		d := &appsv1.Deployment{TypeMeta: apps, ObjectMeta: a.meta(), Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: selector, Template: a.template(corev1.RestartPolicyAlways), MinReadySeconds: minReady,
			RevisionHistoryLimit: &history, ProgressDeadlineSeconds: &deadline,
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
		}}
		if !a.recreate {
			d.Spec.Strategy = appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable},
			}
		}
		o.Value = d
	case statefulSet:
		partition := int32(0)
		policy := appsv1.OrderedReadyPodManagement
		if a.parallel {
			policy = appsv1.ParallelPodManagement
		}
		o.Value = &appsv1.StatefulSet{TypeMeta: apps, ObjectMeta: a.meta(), Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, Selector: selector, Template: a.template(corev1.RestartPolicyAlways), ServiceName: a.name,
			PodManagementPolicy: policy, RevisionHistoryLimit: &history, MinReadySeconds: minReady,
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{
				Type:          appsv1.RollingUpdateStatefulSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: &partition},
			},
		}}
	case daemonSet:
		o.Value = &appsv1.DaemonSet{TypeMeta: apps, ObjectMeta: a.meta(), Spec: appsv1.DaemonSetSpec{
			Selector: selector, Template: a.template(corev1.RestartPolicyAlways), RevisionHistoryLimit: &history, MinReadySeconds: minReady,
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type:          appsv1.RollingUpdateDaemonSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxSurge: &surge, MaxUnavailable: &unavailable},
			},
		}}
	case job:
		o.Value = &batchv1.Job{TypeMeta: batch, ObjectMeta: a.meta(), Spec: a.jobSpec()}
	case cronJob:
		deadline, succeeded, failed := int64(120), int32(3), int32(1)
		o.Value = &batchv1.CronJob{TypeMeta: batch, ObjectMeta: a.meta(), Spec: batchv1.CronJobSpec{
			Schedule: "* * * * *", ConcurrencyPolicy: batchv1.ForbidConcurrent, Suspend: &a.suspended, StartingDeadlineSeconds: &deadline,
			SuccessfulJobsHistoryLimit: &succeeded, FailedJobsHistoryLimit: &failed,
			JobTemplate: batchv1.JobTemplateSpec{Spec: a.jobSpec()},
		}}
	}
	return o
}

func (a app) jobSpec() batchv1.JobSpec {
	parallelism, completions, limit := int32(1), int32(a.replicas), int32(6)
	if a.parallel {
		parallelism = completions
	}
	mode, suspend, replacement := batchv1.NonIndexedCompletion, false, batchv1.TerminatingOrFailed
	if a.indexed {
		mode = batchv1.IndexedCompletion
	}
	if a.kind == job {
		suspend = a.suspended
	}
	return batchv1.JobSpec{
		Parallelism: &parallelism, Completions: &completions, BackoffLimit: &limit, CompletionMode: &mode, Suspend: &suspend,
		PodReplacementPolicy: &replacement, Template: a.template(corev1.RestartPolicyNever),
	}
}

func (a app) template(restart corev1.RestartPolicy) corev1.PodTemplateSpec {
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	c := corev1.Container{
		Name: "main", Image: a.image(), ImagePullPolicy: corev1.PullIfNotPresent,
		Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}},
	}
	if a.config > 0 {
		c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: a.name},
		}}}
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: a.labels()},
		Spec: corev1.PodSpec{
			RestartPolicy: restart, DNSPolicy: corev1.DNSClusterFirst, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{c},
		},
	}
}
