package schema

import "slices"

// An oldVersion is an apiVersion that Kubernetes once served for a kind, or serves beside the newest.
type oldVersion struct {
	apiVersion, kind string
	// convert makes the object one of the kind's own version, where more than the apiVersion differs.
	convert func(doc, spec *value)
	// served reports that Kubernetes still serves it: nobody need write anything else.
	served bool
}

// oldVersions lists them. What a version left to other defaults than the kind's own is written out by its convert.
func oldVersions() []oldVersion {
	return []oldVersion{
		{apiVersion: "extensions/v1beta1", kind: "Deployment", convert: convertFirstDeployment},
		{apiVersion: "apps/v1beta1", kind: "Deployment", convert: convertSecondDeployment},
		{apiVersion: "apps/v1beta2", kind: "Deployment"},
		{apiVersion: "extensions/v1beta1", kind: "ReplicaSet", convert: selectTemplate},
		{apiVersion: "apps/v1beta2", kind: "ReplicaSet"},
		{apiVersion: "extensions/v1beta1", kind: "DaemonSet", convert: convertFirstDaemonSet},
		{apiVersion: "apps/v1beta2", kind: "DaemonSet"},
		{apiVersion: "apps/v1beta1", kind: "StatefulSet", convert: convertFirstStatefulSet},
		{apiVersion: "apps/v1beta2", kind: "StatefulSet"},
		{apiVersion: "batch/v1beta1", kind: "CronJob"},
		{apiVersion: "batch/v2alpha1", kind: "CronJob"},
		{apiVersion: "extensions/v1beta1", kind: "Ingress", convert: convertFirstIngress},
		{apiVersion: "networking.k8s.io/v1beta1", kind: "Ingress", convert: convertFirstIngress},
		{apiVersion: "networking.k8s.io/v1beta1", kind: "IngressClass"},
		{apiVersion: "extensions/v1beta1", kind: "NetworkPolicy"},
		{apiVersion: "autoscaling/v1", kind: "HorizontalPodAutoscaler", convert: convertFirstAutoscaler, served: true},
		{apiVersion: "autoscaling/v2beta1", kind: "HorizontalPodAutoscaler", convert: convertSecondAutoscaler},
		{apiVersion: "autoscaling/v2beta2", kind: "HorizontalPodAutoscaler"},
		{apiVersion: "policy/v1beta1", kind: "PodDisruptionBudget", convert: convertFirstBudget},
		{apiVersion: "storage.k8s.io/v1beta1", kind: "StorageClass"},
		{apiVersion: "discovery.k8s.io/v1beta1", kind: "EndpointSlice", convert: convertFirstSlice},
		{apiVersion: "scheduling.k8s.io/v1beta1", kind: "PriorityClass"},
		{apiVersion: "scheduling.k8s.io/v1alpha1", kind: "PriorityClass"},
	}
}

func findOldVersion(apiVersion, kind string) *oldVersion {
	for _, o := range oldVersions() {
		if o.apiVersion == apiVersion && o.kind == kind {
			return &o
		}
	}
	return nil
}

// upgrade makes an object of an old version one of the newest.
func (o *oldVersion) upgrade(doc *value, apiVersion string) {
	if v := doc.get("apiVersion"); v != nil {
		v.text = apiVersion
	}
	if o.convert == nil {
		return
	}
	spec := doc.get("spec")
	if spec == nil || spec.kind != structKind {
		spec = &value{kind: structKind, pos: doc.pos}
	}
	o.convert(doc, spec)
}

// set gives a struct a field that it lacks, at the place of the struct.
func (v *value) set(name string, content *value) {
	if v == nil || v.kind != structKind {
		return
	}
	if had := v.get(name); had == nil {
		v.fields = append(v.fields, field{name: name, pos: v.pos, value: content})
	} else if had.kind == nullKind {
		*had = *content
	}
}

// drop takes fields away.
func (v *value) drop(names ...string) {
	if v == nil || v.kind != structKind {
		return
	}
	kept := make([]field, 0, len(v.fields))
	for _, f := range v.fields {
		if !slices.Contains(names, f.name) {
			kept = append(kept, f)
		}
	}
	v.fields = kept
}

// within is the struct at a field, made if there is none.
func (v *value) within(name string) *value {
	v.set(name, &value{kind: structKind, pos: v.pos})
	if at := v.get(name); at.kind == structKind {
		return at
	}
	return &value{kind: structKind, pos: v.pos} // what is there is wrong, and will be told
}

func text(s string, at *value) *value { return &value{kind: stringKind, text: s, pos: at.pos} }

func number(s string, at *value) *value { return &value{kind: intKind, text: s, pos: at.pos} }

// selectTemplate writes the selector that a workload had when it wrote none: the labels of its template.
func selectTemplate(_, spec *value) {
	labels := spec.get("template").get("metadata").get("labels")
	if labels == nil {
		return
	}
	if s := spec.get("selector"); s != nil && s.kind != nullKind {
		return
	}
	spec.within("selector").set("matchLabels", labels)
}

// noDeadline stands for a rollout without one: 68 years.
const noDeadline = "2147483647"

func convertFirstDeployment(doc, spec *value) {
	selectTemplate(doc, spec)
	spec.drop("rollbackTo")
	spec.set("progressDeadlineSeconds", number(noDeadline, spec))
	if t := spec.get("strategy").str("type"); t == "" || t == "RollingUpdate" {
		rolling := spec.within("strategy").within("rollingUpdate")
		rolling.set("maxUnavailable", number("1", rolling))
		rolling.set("maxSurge", number("1", rolling))
	}
}

func convertSecondDeployment(doc, spec *value) {
	selectTemplate(doc, spec)
	spec.drop("rollbackTo")
}

func convertFirstDaemonSet(doc, spec *value) {
	selectTemplate(doc, spec)
	spec.drop("templateGeneration")
	s := spec.within("updateStrategy")
	s.set("type", text("OnDelete", s))
}

func convertFirstStatefulSet(doc, spec *value) {
	selectTemplate(doc, spec)
	s := spec.within("updateStrategy")
	s.set("type", text("OnDelete", s))
}

// convertFirstBudget takes an empty selector away: it chose no pod then, and chooses all now.
func convertFirstBudget(_, spec *value) {
	if s := spec.get("selector"); s != nil && s.empty() {
		spec.drop("selector")
	}
}

// convertFirstSlice knows that what was topology then is split up now; a host name in it is the node.
func convertFirstSlice(doc, _ *value) {
	endpoints := doc.get("endpoints")
	if endpoints == nil {
		return
	}
	for _, e := range endpoints.items {
		if t := e.get("topology"); t != nil {
			for _, f := range []struct{ label, name string }{{"kubernetes.io/hostname", "nodeName"}, {"topology.kubernetes.io/zone", "zone"}} {
				if l := t.get(f.label); l != nil {
					e.set(f.name, l)
				}
			}
			e.drop("topology")
		}
	}
}

// convertFirstAutoscaler writes the one measure of autoscaling/v1 as a metric.
func convertFirstAutoscaler(_, spec *value) {
	percent := spec.get("targetCPUUtilizationPercentage")
	if percent == nil || percent.kind == nullKind {
		spec.drop("targetCPUUtilizationPercentage")
		return
	}
	spec.drop("targetCPUUtilizationPercentage")
	at := percent
	target := &value{kind: structKind, pos: at.pos, fields: []field{{"type", at.pos, text("Utilization", at)}, {"averageUtilization", at.pos, percent}}}
	resource := &value{kind: structKind, pos: at.pos, fields: []field{{"name", at.pos, text("cpu", at)}, {"target", at.pos, target}}}
	metric := &value{kind: structKind, pos: at.pos, fields: []field{{"type", at.pos, text("Resource", at)}, {"resource", at.pos, resource}}}
	spec.set("metrics", &value{kind: listKind, pos: at.pos, items: []*value{metric}})
}
