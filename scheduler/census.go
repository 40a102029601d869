package scheduler

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"headway.dev/headway/api"
)

// A census has all pods by kind, so that a rule is held against each kind once, however many pods there are of it.
type census struct {
	kinds map[kindHash][]*kind // those of one hash differ in their labels
	// namespaces that pods are in, or that have labels.
	namespaces map[string]*district
	domains    map[string]*domains // by topology key
	// bearing are the terms of pods that concern others, by a label that those must have, and wanderers those that name none.
	bearing   map[pair][]bearing
	wanderers []bearing
}

// A district is what there is in one namespace.
type district struct {
	labels labels.Set
	kinds  []*kind
	marked map[pair][]*kind // by label
}

// A kind is the pods of one template, with the same labels.
type kind struct {
	kindKey
	marks marks
	// settled are the nodes of its pods, one for each, and leaving those of its pods that have been told to end.
	settled, leaving []*node
}

type kindKey struct {
	owner     api.Ref
	namespace string
	template  api.Digest
	spec      *corev1.PodSpec
}

type kindHash struct {
	owner    api.Ref
	template api.Digest
	labels   uint64
}

// Marks are the labels of a pod. Workloads need not mark their pods with their template here, as controllers of Kubernetes
// do, but a rule may go by such a label: the template stands in for it.
type marks struct {
	labels   map[string]string
	template api.Digest
}

// isTemplateLabel reports whether a label tells pods of one template from those of another.
func isTemplateLabel(key string) bool {
	return key == "pod-template-hash" || key == "controller-revision-hash"
}

// Lookup gives the value of a label.
func (m marks) Lookup(label string) (string, bool) {
	if value, ok := m.labels[label]; ok {
		return value, true
	}
	if m.template == "" || !isTemplateLabel(label) {
		return "", false
	}
	return string(m.template[:min(len(m.template), validation.LabelValueMaxLength)]), true
}

// Has reports whether there is such a label.
func (m marks) Has(label string) bool {
	_, ok := m.Lookup(label)
	return ok
}

// Get gives the value of a label, if there is one.
func (m marks) Get(label string) string {
	value, _ := m.Lookup(label)
	return value
}

func newCensus(namespaces map[string]map[string]string) *census {
	c := &census{
		kinds: map[kindHash][]*kind{}, namespaces: make(map[string]*district, len(namespaces)), domains: map[string]*domains{},
		bearing: map[pair][]bearing{},
	}
	for name, labels := range namespaces {
		c.district(name).labels = named(name, labels)
	}
	return c
}

// named are the labels of a namespace, with the one that each has.
func named(name string, of map[string]string) labels.Set {
	all := make(labels.Set, len(of)+1)
	maps.Copy(all, of)
	all[corev1.LabelMetadataName] = name
	return all
}

func (c *census) district(namespace string) *district {
	d := c.namespaces[namespace]
	if d == nil {
		d = &district{labels: named(namespace, nil), marked: map[pair][]*kind{}}
		c.namespaces[namespace] = d
	}
	return d
}

func (f *fleet) kindOfRunning(r *Running) *kind {
	return f.kindOf(kindKey{r.Owner, r.Owner.Namespace, r.Template, r.Spec}, r.Labels)
}

// kindOf gives the kind of pods.
func (f *fleet) kindOf(key kindKey, marked map[string]string) *kind {
	c, at := f.pods, kindHash{key.owner, key.template, hashLabels(marked)}
	for _, k := range c.kinds[at] {
		if k.kindKey == key && maps.Equal(k.marks.labels, marked) {
			return k
		}
	}
	k := &kind{kindKey: key, marks: marks{marked, key.template}}
	c.kinds[at] = append(c.kinds[at], k)
	d := c.district(key.namespace)
	d.kinds = append(d.kinds, k)
	for label, value := range marked {
		d.marked[pair{label, value}] = append(d.marked[pair{label, value}], k)
	}
	c.bear(k)
	return k
}

func (k *kind) add(n *node, stopping bool) {
	if stopping {
		k.leaving = append(k.leaving, n)
	} else {
		k.settled = append(k.settled, n)
	}
}

// hashLabels comes out the same in whatever order a map gives its labels.
func hashLabels(labels map[string]string) uint64 {
	var sum uint64
	for key, value := range labels {
		sum += mix(hash(key) ^ mix(hash(value)))
	}
	return sum
}
