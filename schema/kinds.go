package schema

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// A kindEntry is a kind that headway runs.
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

// kinds lists the kinds that headway runs. To add one: define #Kind in CUE, add a row, and write the row's finish.
func kinds() []kindEntry {
	return []kindEntry{
		entry("v1", "Namespace", true, func() *corev1.Namespace { return &corev1.Namespace{} }, nil),
		entry("v1", "Node", true, func() *corev1.Node { return &corev1.Node{} }, finishNode),
		entry("v1", "Pod", false, func() *corev1.Pod { return &corev1.Pod{} }, finishPod),
		entry("v1", "ConfigMap", false, func() *corev1.ConfigMap { return &corev1.ConfigMap{} }, finishConfigMap),
		entry("v1", "Service", false, func() *corev1.Service { return &corev1.Service{} }, finishService),
		entry("apps/v1", "Deployment", false, func() *appsv1.Deployment { return &appsv1.Deployment{} }, finishDeployment),
	}
}

// A laterKind is one of Kubernetes' own that headway does not run; it is refused by name.
type laterKind struct{ apiVersion, kind, reason string }

const notYet = "is not supported yet"

// laterKinds lists them with the version that Kubernetes serves.
func laterKinds() []laterKind {
	return []laterKind{
		{"v1", "Secret", notYet},
		{"v1", "PersistentVolume", notYet},
		{"v1", "PersistentVolumeClaim", notYet},
		{"v1", "ReplicationController", notYet},
		{"v1", "Endpoints", notYet},
		{"v1", "LimitRange", notYet},
		{"v1", "ResourceQuota", notYet},
		{"v1", "PodTemplate", "is not a kind that runs anything: write a Deployment"},
		{"apps/v1", "ReplicaSet", notYet},
		{"apps/v1", "StatefulSet", notYet},
		{"apps/v1", "DaemonSet", notYet},
		{"batch/v1", "Job", notYet},
		{"batch/v1", "CronJob", notYet},
		{"networking.k8s.io/v1", "Ingress", notYet},
		{"networking.k8s.io/v1", "IngressClass", notYet},
		{"networking.k8s.io/v1", "NetworkPolicy", notYet},
		{"discovery.k8s.io/v1", "EndpointSlice", notYet},
		{"autoscaling/v2", "HorizontalPodAutoscaler", notYet},
		{"policy/v1", "PodDisruptionBudget", notYet},
		{"storage.k8s.io/v1", "StorageClass", notYet},
		{"scheduling.k8s.io/v1", "PriorityClass", notYet},
		{"headway.dev/v1", "Cluster", notYet},
		{"kustomize.config.k8s.io/v1beta1", "Kustomization", notYet + ": commit what kustomize build renders"},
		{"kustomize.config.k8s.io/v1alpha1", "Component", notYet + ": commit what kustomize build renders"},
	}
}

// effectless are kinds of Kubernetes' own that are taken without effect; they are told once a kind, as foreign ones are.
func effectless() map[string]string {
	return map[string]string{
		"ServiceAccount": "there is no API server to authenticate to",
	}
}

// A verdict says what becomes of an object by its apiVersion and kind alone.
type verdict struct {
	entry   *kindEntry // nil unless headway runs it
	problem string     // why it is refused, or has no effect
	field   string     // the field at fault
	warning bool
}

// judge looks an object's kind up. Kubernetes' own kinds are run or refused by name; others are not headway's to judge.
func (c *Compiler) judge(apiVersion, kind string) verdict {
	if e, ok := c.kinds[kind]; ok && e.apiVersion == apiVersion {
		return verdict{entry: e}
	}
	group := groupOf(apiVersion)
	own := slices.Contains(ownGroups(), group)
	switch e := c.kinds[kind]; {
	case e != nil && own:
		return verdict{field: "apiVersion", problem: shorten(apiVersion) + " is not served for " + kind + ": write " + e.apiVersion}
	case own:
		if reason, ok := effectless()[kind]; ok {
			return verdict{problem: "has no effect: " + reason, warning: true}
		}
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
