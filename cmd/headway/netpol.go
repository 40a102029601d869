package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"headway.dev/headway/api"
	"headway.dev/headway/isolation"
)

func networkPolicyView(objects []api.Object, statuses []api.NodeStatus) view {
	v := view{header: []string{"NAMESPACE", "NAME", "POD-SELECTOR", "ISOLATES", "PODS"}, wide: []string{"SOURCE"}}
	for _, o := range objects {
		policy, ok := o.Value.(*networkingv1.NetworkPolicy)
		if !ok {
			continue
		}
		selected := 0
		for _, s := range statuses {
			for _, p := range s.Pods {
				if selectedBy(policy, p) {
					selected++
				}
			}
		}
		var ways []string
		ingress, egress := isolation.Directions(policy)
		if ingress {
			ways = append(ways, "Ingress")
		}
		if egress {
			ways = append(ways, "Egress")
		}
		selector := metav1.FormatLabelSelector(&policy.Spec.PodSelector)
		if selector == "<none>" {
			selector = "(all)"
		}
		v.rows = append(v.rows, row{
			ref: o.Ref, data: o.Value,
			cells: []string{o.Ref.Namespace, o.Ref.Name, selector, strings.Join(ways, ","), strconv.Itoa(selected)},
			wide:  []string{o.Source.String()},
		})
	}
	return v
}

// selectedBy reports whether an object is a network policy for the pod.
func selectedBy(object any, p api.PodStatus) bool {
	policy, ok := object.(*networkingv1.NetworkPolicy)
	if !ok || p.Placement.Pod.Namespace != policy.Namespace {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
	return err == nil && selector.Matches(labels.Set(p.Placement.Labels))
}

// isolated is what passes to and from a pod.
type isolated struct {
	Ingress *api.Allowed `json:"ingress,omitempty"` // nil is everything
	Egress  *api.Allowed `json:"egress,omitempty"`
}

// isolationOf finds what a pod's assignment says; nil is that it is not isolated.
func isolationOf(assignments []api.Assignment, uid string) *isolated {
	for _, a := range assignments {
		if a.Isolation == nil {
			continue
		}
		for _, group := range a.Isolation.Pods {
			if slices.Contains(group.UIDs, uid) {
				return &isolated{Ingress: group.Ingress, Egress: group.Egress}
			}
		}
	}
	return nil
}

func (i *isolated) print(w io.Writer) {
	for _, way := range []struct {
		name    string
		allowed *api.Allowed
	}{{"may come in", i.Ingress}, {"may go out", i.Egress}} {
		switch {
		case way.allowed == nil:
			fmt.Fprintf(w, "  everything %s\n", way.name)
		case len(way.allowed.Flows) == 0:
			fmt.Fprintf(w, "  nothing %s, by network policies\n", way.name)
		default:
			for _, f := range way.allowed.Flows {
				fmt.Fprintf(w, "  %s: %s at %s\n", way.name, strings.Join(f.Networks, " "), portNames(f.Ports))
			}
		}
	}
}

// portNames writes ports as a person reads them.
func portNames(ranges []api.PortRange) string {
	if len(ranges) == 0 {
		return "every port"
	}
	words := make([]string, len(ranges))
	for i, r := range ranges {
		switch {
		case r.First == 0 && r.Last == ^uint16(0):
			words[i] = fmt.Sprintf("every port of %s", r.Protocol)
		case r.First == r.Last:
			words[i] = fmt.Sprintf("%d/%s", r.First, r.Protocol)
		default:
			words[i] = fmt.Sprintf("%d-%d/%s", r.First, r.Last, r.Protocol)
		}
	}
	return strings.Join(words, ", ")
}
