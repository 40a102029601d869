package schema

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// A kindEntry is a kind that has a definition.
type kindEntry struct {
	apiVersion string
	kind       string
	cluster    bool // belongs to the whole cluster, not to a namespace
	empty      func() runtime.Object
	// finish fills in defaults that depend on other fields, and checks rules across fields.
	finish func(*inspection, runtime.Object)
}

func (k kindEntry) definition() string { return "#" + k.kind }

func entry[T runtime.Object](apiVersion, kind string, cluster bool, empty func() T, finish func(*inspection, T)) kindEntry {
	return kindEntry{apiVersion, kind, cluster, func() runtime.Object { return empty() }, func(i *inspection, o runtime.Object) {
		if t, ok := o.(T); ok && finish != nil {
			finish(i, t)
		}
	}}
}

// kinds lists the kinds that have a definition, which says what becomes of them: run, accepted, or refused. To add one:
// define #Kind in CUE, add a row, and write the row's finish.
func kinds() []kindEntry {
	return []kindEntry{
		entry("v1", "Namespace", true, func() *corev1.Namespace { return &corev1.Namespace{} }, nil),
		entry("v1", "Node", true, func() *corev1.Node { return &corev1.Node{} }, finishNode),
		entry("v1", "Pod", false, func() *corev1.Pod { return &corev1.Pod{} }, finishPod),
		entry("v1", "ReplicationController", false, func() *corev1.ReplicationController { return &corev1.ReplicationController{} }, finishReplicationController),
		entry("apps/v1", "ReplicaSet", false, func() *appsv1.ReplicaSet { return &appsv1.ReplicaSet{} }, finishReplicaSet),
		entry("apps/v1", "Deployment", false, func() *appsv1.Deployment { return &appsv1.Deployment{} }, finishDeployment),
		entry("apps/v1", "StatefulSet", false, func() *appsv1.StatefulSet { return &appsv1.StatefulSet{} }, finishStatefulSet),
		entry("apps/v1", "DaemonSet", false, func() *appsv1.DaemonSet { return &appsv1.DaemonSet{} }, finishDaemonSet),
		entry("batch/v1", "Job", false, func() *batchv1.Job { return &batchv1.Job{} }, finishJob),
		entry("batch/v1", "CronJob", false, func() *batchv1.CronJob { return &batchv1.CronJob{} }, finishCronJob),
		entry("v1", "Service", false, func() *corev1.Service { return &corev1.Service{} }, finishService),
		entry("v1", "Endpoints", false, func() *corev1.Endpoints { return &corev1.Endpoints{} }, finishEndpoints), //nolint:staticcheck // Kubernetes still serves them
		entry("discovery.k8s.io/v1", "EndpointSlice", false, func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} }, finishEndpointSlice),
		entry("networking.k8s.io/v1", "Ingress", false, func() *networkingv1.Ingress { return &networkingv1.Ingress{} }, finishIngress),
		entry("networking.k8s.io/v1", "IngressClass", true, func() *networkingv1.IngressClass { return &networkingv1.IngressClass{} }, finishIngressClass),
		entry("networking.k8s.io/v1", "NetworkPolicy", false, func() *networkingv1.NetworkPolicy { return &networkingv1.NetworkPolicy{} }, finishNetworkPolicy),
		entry("v1", "ConfigMap", false, func() *corev1.ConfigMap { return &corev1.ConfigMap{} }, finishConfigMap),
		entry("v1", "Secret", false, func() *corev1.Secret { return &corev1.Secret{} }, finishSecret),
		entry("v1", "PersistentVolume", true, func() *corev1.PersistentVolume { return &corev1.PersistentVolume{} }, finishPersistentVolume),
		entry("v1", "PersistentVolumeClaim", false, func() *corev1.PersistentVolumeClaim { return &corev1.PersistentVolumeClaim{} }, finishPersistentVolumeClaim),
		entry("storage.k8s.io/v1", "StorageClass", true, func() *storagev1.StorageClass { return &storagev1.StorageClass{} }, nil),
		entry("autoscaling/v2", "HorizontalPodAutoscaler", false, func() *autoscalingv2.HorizontalPodAutoscaler { return &autoscalingv2.HorizontalPodAutoscaler{} }, finishHorizontalPodAutoscaler),
		entry("policy/v1", "PodDisruptionBudget", false, func() *policyv1.PodDisruptionBudget { return &policyv1.PodDisruptionBudget{} }, finishPodDisruptionBudget),
		entry("scheduling.k8s.io/v1", "PriorityClass", true, func() *schedulingv1.PriorityClass { return &schedulingv1.PriorityClass{} }, finishPriorityClass),
		entry("v1", "LimitRange", false, func() *corev1.LimitRange { return &corev1.LimitRange{} }, finishLimitRange),
		entry("v1", "ResourceQuota", false, func() *corev1.ResourceQuota { return &corev1.ResourceQuota{} }, finishResourceQuota),
		entry("v1", "ServiceAccount", false, func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} }, finishServiceAccount),
		entry(api.ClusterVersion, "Cluster", true, func() *api.Cluster { return &api.Cluster{} }, finishCluster),
	}
}

// A laterKind is one that has no definition here; it is refused by name.
type laterKind struct{ apiVersion, kind, reason string }

// laterKinds lists them with the version that is in use.
func laterKinds() []laterKind {
	return []laterKind{
		{"v1", "PodTemplate", "is not a kind that runs anything: write a Deployment"},
		{"v1", "Binding", "is not a kind for Git: pods are placed by headway"},
		{"kustomize.config.k8s.io/v1beta1", "Kustomization", "is not supported yet: commit what kustomize build renders"},
		{"kustomize.config.k8s.io/v1alpha1", "Component", "is not supported yet: commit what kustomize build renders"},
	}
}

// A verdict says what becomes of an object by its apiVersion and kind alone.
type verdict struct {
	entry   *kindEntry  // nil unless there is a definition
	old     *oldVersion // what the apiVersion is, if it is not the definition's
	problem string      // why it is refused, or has no effect
	field   string      // the field at fault
	warning bool
}

// judge looks an object's kind up. Kubernetes' own kinds are run or refused by name; others are not headway's to judge.
func (c *Compiler) judge(apiVersion, kind string) verdict {
	e := c.kinds[kind]
	if e != nil && e.apiVersion == apiVersion {
		return verdict{entry: e}
	}
	if e != nil {
		if old := findOldVersion(apiVersion, kind); old != nil {
			return verdict{entry: e, old: old}
		}
	}
	group := groupOf(apiVersion)
	own := slices.Contains(ownGroups(), group)
	switch {
	case e != nil && own:
		return verdict{field: "apiVersion", problem: shorten(apiVersion) + " is not served for " + kind + ": write " + e.apiVersion}
	case e != nil && editDistance(apiVersion, e.apiVersion, misspelt) < misspelt:
		return verdict{field: "apiVersion", problem: shorten(apiVersion) + " is not a version of " + kind + "; did you mean " + e.apiVersion + "?"}
	case own:
		for _, l := range c.later {
			if l.kind == kind {
				return verdict{field: "kind", problem: kind + " " + l.reason}
			}
		}
		if near := nearest(kind, c.names); near != "" {
			return verdict{field: "kind", problem: shorten(kind) + " is not a kind of " + apiVersion + "; did you mean " + near + "?"}
		}
		if group == "" || group == "apps" || group == "batch" {
			return verdict{field: "kind", problem: shorten(kind) + " is not a kind of " + apiVersion + " that headway knows"}
		}
	}
	return verdict{problem: kind + " of " + apiVersion + " is not run here", warning: true}
}

// misspelt is how many edits make another word of an apiVersion.
const misspelt = 3

// groupOf is the part of an apiVersion before the slash; the core group is empty.
func groupOf(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}

// ownGroups are the API groups whose kinds headway runs or refuses by name.
func ownGroups() []string {
	return []string{
		"", "apps", "batch", "extensions", "networking.k8s.io", "discovery.k8s.io", "autoscaling", "policy",
		"storage.k8s.io", "scheduling.k8s.io", "headway.dev", "kustomize.config.k8s.io",
	}
}

// unnamed stands for the name of an object without one in what is said of it.
const unnamed = "(unnamed)"

// refOf reads an object's identity as far as it is written.
func (c *Compiler) refOf(doc *value) api.Ref {
	ref := api.Ref{Kind: doc.str("kind"), Namespace: doc.str("metadata", "namespace"), Name: doc.str("metadata", "name")}
	if e, ok := c.kinds[ref.Kind]; ok {
		switch {
		case e.cluster:
			ref.Namespace = ""
		case ref.Namespace == "":
			ref.Namespace = corev1.NamespaceDefault
		}
	}
	if ref.Name == "" {
		ref.Name = unnamed
	}
	return ref
}
