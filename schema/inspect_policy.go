package schema

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"headway.dev/headway/api"
)

func finishNode(i *inspection, n *corev1.Node) {
	type id struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := map[id]bool{}
	for t, taint := range n.Spec.Taints {
		k := id{taint.Key, taint.Effect}
		if seen[k] {
			i.fail([]any{"spec", "taints", t}, "a taint %s with effect %s is there already", taint.Key, taint.Effect)
		}
		seen[k] = true
	}
}

func finishPodDisruptionBudget(i *inspection, b *policyv1.PodDisruptionBudget) {
	i.labelSelector([]any{"spec", "selector"}, b.Spec.Selector)
	i.share([]any{"spec", "minAvailable"}, b.Spec.MinAvailable)
	i.share([]any{"spec", "maxUnavailable"}, b.Spec.MaxUnavailable)
	if b.Spec.MinAvailable == nil && b.Spec.MaxUnavailable == nil {
		i.warn([]any{"spec"}, "has neither minAvailable nor maxUnavailable: one pod must stay available")
	}
}

// finishPriorityClass keeps the names and values that are the system's.
func finishPriorityClass(i *inspection, p *schedulingv1.PriorityClass) {
	const system = "system-"
	if len(p.Name) >= len(system) && p.Name[:len(system)] == system {
		i.fail([]any{"metadata", "name"}, "%q starts with system-, which is for the system's own", p.Name)
	}
}

// finishLimitRange holds min <= defaultRequest <= default <= max, and fills in what follows from the others.
func finishLimitRange(i *inspection, l *corev1.LimitRange) {
	for n := range l.Spec.Limits {
		item, at := &l.Spec.Limits[n], []any{"spec", "limits", n}
		i.limits(at, item)
		if item.Type != corev1.LimitTypeContainer {
			for _, f := range []struct {
				name string
				list corev1.ResourceList
			}{{"default", item.Default}, {"defaultRequest", item.DefaultRequest}} {
				if len(f.list) > 0 && item.Type == corev1.LimitTypePod {
					i.fail(under(at, f.name), "may not be set where type is Pod: write it for Container")
				}
			}
			continue
		}
		item.Default = filled(item.Default, item.Max)
		item.DefaultRequest = filled(filled(item.DefaultRequest, item.Default), item.Min)
	}
}

// filled is a list with what it lacks taken from another.
func filled(list, from corev1.ResourceList) corev1.ResourceList {
	for name, q := range from {
		if _, ok := list[name]; ok {
			continue
		}
		if list == nil {
			list = corev1.ResourceList{}
		}
		list[name] = q
	}
	return list
}

// limits orders the bounds of one item.
func (i *inspection) limits(at []any, item *corev1.LimitRangeItem) {
	order := []struct {
		name string
		list corev1.ResourceList
	}{{"min", item.Min}, {"defaultRequest", item.DefaultRequest}, {"default", item.Default}, {"max", item.Max}}
	for k, low := range order {
		for _, high := range order[k+1:] {
			for _, name := range slices.Sorted(maps.Keys(low.list)) {
				a, b := low.list[name], high.list[name]
				if _, ok := high.list[name]; ok && a.Cmp(b) > 0 {
					i.fail(under(at, low.name, string(name)), "%s is more than %s, %s", a.String(), high.name, b.String())
				}
			}
		}
	}
	for _, f := range order {
		i.wholeNumbers(under(at, f.name), f.list)
		for _, name := range slices.Sorted(maps.Keys(f.list)) {
			if item.Type == corev1.LimitTypePersistentVolumeClaim && api.IsExtended(string(name)) {
				i.fail(under(at, f.name, string(name)), "is nothing that a claim asks for")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(item.DefaultRequest)) {
		request, limit := item.DefaultRequest[name], item.Default[name]
		if _, both := item.Default[name]; both && api.IsExtended(string(name)) && request.Cmp(limit) < 0 {
			i.fail(under(at, "defaultRequest", string(name)), "%s is not the default, %s: nobody gets more of it than was asked for", request.String(), limit.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(item.MaxLimitRequestRatio)) {
		if q := item.MaxLimitRequestRatio[name]; q.MilliValue() < 1000 {
			i.fail(under(at, "maxLimitRequestRatio", string(name)), "%s is less than 1: a limit is never less than its request", q.String())
		}
	}
}

func finishResourceQuota(i *inspection, q *corev1.ResourceQuota) {
	if q.Spec.ScopeSelector == nil {
		return
	}
	for n, r := range q.Spec.ScopeSelector.MatchExpressions {
		at := []any{"spec", "scopeSelector", "matchExpressions", n}
		needsValues := r.Operator == corev1.ScopeSelectorOpIn || r.Operator == corev1.ScopeSelectorOpNotIn
		if needsValues != (len(r.Values) > 0) {
			i.fail(under(at, "values"), "must hold values for In and NotIn, and none for Exists and DoesNotExist")
		}
		if r.ScopeName != corev1.ResourceQuotaScopePriorityClass && r.ScopeName != corev1.ResourceQuotaScopeVolumeAttributesClass && r.Operator != corev1.ScopeSelectorOpExists {
			i.fail(under(at, "operator"), "must be Exists for %s", r.ScopeName)
		}
	}
}

func finishCluster(i *inspection, c *api.Cluster) {
	for n, w := range c.Spec.Freeze {
		i.schedule([]any{"spec", "freeze", n}, w.Schedule, w.TimeZone)
		if w.Duration.Duration <= 0 {
			i.fail([]any{"spec", "freeze", n, "duration"}, "is 0: write how long the window stays open")
		}
	}
}
