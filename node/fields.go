package node

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// defaultServiceAccount is what Kubernetes calls the account of a pod that names none.
const defaultServiceAccount = "default"

// field gives a field of the pod, by its path in Kubernetes' form, for a variable.
func (s surroundings) field(path string) (string, error) {
	if value, found := s.metadata(path); found {
		return value, nil
	}
	switch path {
	case "spec.nodeName":
		return s.node, nil
	case "spec.serviceAccountName":
		if account := s.template.Spec.ServiceAccountName; account != "" {
			return account, nil
		}
		return defaultServiceAccount, nil
	case "status.podIP", "status.podIPs": // a pod has one address
		return s.podIP.String(), nil
	case "status.hostIP", "status.hostIPs":
		return s.hostIP, nil
	}
	return "", fmt.Errorf("fieldPath %q is not one of metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], "+
		"metadata.annotations['KEY'], spec.nodeName, spec.serviceAccountName, status.podIP, status.podIPs, status.hostIP and status.hostIPs", path)
}

// metadata gives what is the same for the whole life of the pod.
func (s surroundings) metadata(path string) (value string, found bool) {
	switch path {
	case "metadata.name":
		return s.placement.Pod.Name, true
	case "metadata.namespace":
		return s.placement.Pod.Namespace, true
	case "metadata.uid":
		return s.placement.UID, true
	}
	if key, found := subscript(path, "metadata.labels"); found {
		return s.labels()[key], true
	}
	if key, found := subscript(path, "metadata.annotations"); found {
		return s.annotations()[key], true
	}
	return "", false
}

// subscript gives KEY of FIELD['KEY'].
func subscript(path, field string) (key string, found bool) {
	rest, found := strings.CutPrefix(path, field+"['")
	if !found || !strings.HasSuffix(rest, "']") {
		return "", false
	}
	return strings.TrimSuffix(rest, "']"), true
}

// file gives what a file of a downward API volume holds.
func (s surroundings) file(f corev1.DownwardAPIVolumeFile) (string, error) {
	switch {
	case f.ResourceFieldRef != nil:
		return s.resource(f.ResourceFieldRef, nil)
	case f.FieldRef == nil:
		return "", fmt.Errorf("file %s: it needs a fieldRef or a resourceFieldRef", f.Path)
	}
	switch path := f.FieldRef.FieldPath; path {
	case "metadata.labels":
		return lines(s.labels()), nil
	case "metadata.annotations":
		return lines(s.annotations()), nil
	default:
		if value, found := s.metadata(path); found {
			return value, nil
		}
		return "", fmt.Errorf("file %s: fieldPath %q is not one of metadata.name, metadata.namespace, metadata.uid, metadata.labels, "+
			"metadata.annotations, metadata.labels['KEY'] and metadata.annotations['KEY']", f.Path, path)
	}
}

// lines gives labels or annotations as Kubernetes writes them to a file: key="value", with what is special escaped.
func lines(values map[string]string) string {
	all := make([]string, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		all = append(all, key+"="+strconv.Quote(values[key]))
	}
	return strings.Join(all, "\n")
}

// resource gives a request or limit of a container, in units of the divisor and rounded up. Of no limit, it is what the
// node has to give. An empty container name is that of own.
func (s surroundings) resource(ref *corev1.ResourceFieldSelector, own *corev1.Container) (string, error) {
	c, err := s.container(ref.ContainerName, own)
	if err != nil {
		return "", err
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	resource := corev1.ResourceName(name)
	if known := resource == corev1.ResourceCPU || resource == corev1.ResourceMemory || resource == corev1.ResourceEphemeralStorage; !known {
		return "", fmt.Errorf("resource %q is not one of cpu, memory and ephemeral-storage, with limits. or requests. before it", ref.Resource)
	}
	limit, limited := c.Resources.Limits[resource]
	switch kind {
	case "limits":
		if !limited {
			limit = s.allocatable[resource]
		}
		return inUnits(limit, ref.Divisor, resource), nil
	case "requests":
		request, asked := c.Resources.Requests[resource]
		if !asked {
			request = limit
		}
		return inUnits(request, ref.Divisor, resource), nil
	}
	return "", fmt.Errorf("resource %q has neither limits. nor requests. before it", ref.Resource)
}

func (s surroundings) container(name string, own *corev1.Container) (*corev1.Container, error) {
	if name == "" && own != nil {
		return own, nil
	}
	for _, all := range [][]corev1.Container{s.template.Spec.Containers, s.template.Spec.InitContainers} {
		if i := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name }); i >= 0 {
			return &all[i], nil
		}
	}
	return nil, fmt.Errorf("resourceFieldRef: the pod has no container %q", name)
}

// inUnits divides and rounds up. A divisor of zero is one.
func inUnits(q, divisor resource.Quantity, name corev1.ResourceName) string {
	value, unit := q.Value(), divisor.Value()
	if name == corev1.ResourceCPU {
		value, unit = q.MilliValue(), divisor.MilliValue()
		if divisor.IsZero() {
			unit = 1000
		}
	}
	unit = max(unit, 1)
	whole := value / unit
	if value%unit > 0 {
		whole++
	}
	return strconv.FormatInt(whole, 10)
}
