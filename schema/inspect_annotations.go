package schema

import (
	"regexp"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// atomicAnnotation names the group of a workload that is promoted as a whole.
const atomicAnnotation = "headway.dev/atomic"

var groupName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// annotations checks those by which an author says how an object's commits are carried out.
func (i *inspection) annotations(object runtime.Object) {
	m, err := meta.Accessor(object)
	if err != nil {
		return
	}
	if group, ok := m.GetAnnotations()[atomicAnnotation]; ok {
		i.atomic([]any{"metadata", "annotations", atomicAnnotation}, group, object)
	}
}

func (i *inspection) atomic(at []any, group string, object runtime.Object) {
	if !groupName.MatchString(group) {
		i.fail(at, "%q is no name of a group: write a DNS label, such as shop", group)
		return
	}
	if _, hasPods := podLabels(object); !hasPods {
		i.warn(at, "has no effect: a %s has no pods to promote", i.ref.Kind)
	}
}
