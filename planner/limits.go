package planner

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
)

// A limitRange is a LimitRange object. What it gives by default is part of the templates of its namespace: a commit that
// changes it rolls what it changes, as one that changes a config map does.
type limitRange struct {
	ref   api.Ref
	items []corev1.LimitRangeItem
}

// limitRangesOf picks the limit ranges out of the objects, by namespace and ordered by ref.
func limitRangesOf(objects []api.Object) map[string][]limitRange {
	ranges := map[string][]limitRange{}
	for _, o := range objects {
		if l, ok := o.Value.(*corev1.LimitRange); ok {
			ranges[o.Ref.Namespace] = append(ranges[o.Ref.Namespace], limitRange{o.Ref, l.Spec.Limits})
		}
	}
	for _, in := range ranges {
		slices.SortFunc(in, func(a, b limitRange) int { return a.ref.Compare(b.ref) })
	}
	return ranges
}

// limited gives the spec with what the limit ranges fill in, and fails where it is out of their bounds.
func limited(spec *corev1.PodSpec, ranges []limitRange) (*corev1.PodSpec, error) {
	if len(ranges) == 0 {
		return spec, nil
	}
	spec = spec.DeepCopy()
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			for _, l := range ranges {
				fillResources(&containers[i].Resources, l.items)
			}
		}
	}
	for _, l := range ranges {
		for i := range l.items {
			if err := checkRange(spec, &l.items[i]); err != nil {
				return spec, fmt.Errorf("%s: %w", l.ref, err)
			}
		}
	}
	return spec, nil
}

// fillResources gives a container the defaults for what it does not say. One that has a limit asks for that much.
func fillResources(r *corev1.ResourceRequirements, items []corev1.LimitRangeItem) {
	for i := range items {
		if items[i].Type != corev1.LimitTypeContainer {
			continue
		}
		for name, q := range items[i].DefaultRequest {
			_, limits := r.Limits[name]
			if _, asks := r.Requests[name]; !asks && !limits {
				setQuantity(&r.Requests, name, q)
			}
		}
		for name, q := range items[i].Default {
			if _, limits := r.Limits[name]; !limits {
				setQuantity(&r.Limits, name, q)
			}
		}
	}
}

func setQuantity(list *corev1.ResourceList, name corev1.ResourceName, q resource.Quantity) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = q
}

// checkRange holds each container, or the pod as a whole, against the bounds of an item.
func checkRange(spec *corev1.PodSpec, item *corev1.LimitRangeItem) error {
	switch item.Type {
	case corev1.LimitTypeContainer:
		for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
			for i := range containers {
				if err := checkBounds(containers[i].Resources, item); err != nil {
					return fmt.Errorf("container %s: %w", containers[i].Name, err)
				}
			}
		}
	case corev1.LimitTypePod:
		return checkBounds(podResources(spec), item)
	}
	return nil
}

// podResources sums what the containers of a pod ask for and are limited to.
func podResources(spec *corev1.PodSpec) corev1.ResourceRequirements {
	sum := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	for i := range spec.Containers {
		r := spec.Containers[i].Resources
		for name, q := range r.Limits {
			addQuantity(sum.Limits, name, q)
			if _, asks := r.Requests[name]; !asks {
				addQuantity(sum.Requests, name, q)
			}
		}
		for name, q := range r.Requests {
			addQuantity(sum.Requests, name, q)
		}
	}
	return sum
}

func addQuantity(list corev1.ResourceList, name corev1.ResourceName, q resource.Quantity) {
	total := list[name]
	total.Add(q)
	list[name] = total
}

// checkBounds holds resources against minimum, maximum and the ratio of limit to request.
func checkBounds(r corev1.ResourceRequirements, item *corev1.LimitRangeItem) error {
	for _, name := range sortedNames(item.Min, item.Max, item.MaxLimitRequestRatio) {
		limit, limits := r.Limits[name]
		request, asks := r.Requests[name]
		if !asks && limits {
			request, asks = limit, true
		}
		if least, ok := item.Min[name]; ok && (!asks || request.Cmp(least) < 0) {
			return fmt.Errorf("it asks for %s of %s, and the least is %s", said(request, asks), name, least.String())
		}
		if most, ok := item.Max[name]; ok && (!limits || limit.Cmp(most) > 0) {
			return fmt.Errorf("its limit of %s is %s, and the most is %s", name, said(limit, limits), most.String())
		}
		if ratio, ok := item.MaxLimitRequestRatio[name]; ok {
			if !asks || !limits || request.IsZero() || limit.AsApproximateFloat64() > ratio.AsApproximateFloat64()*request.AsApproximateFloat64() {
				return fmt.Errorf("its limit of %s is %s for a request of %s, and at most %s times as much is allowed",
					name, said(limit, limits), said(request, asks), ratio.String())
			}
		}
	}
	return nil
}

func said(q resource.Quantity, ok bool) string {
	if !ok {
		return "nothing"
	}
	return q.String()
}

// sortedNames are the resources that any of the lists names.
func sortedNames(lists ...corev1.ResourceList) []corev1.ResourceName {
	var names []corev1.ResourceName
	for _, list := range lists {
		for name := range list {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
