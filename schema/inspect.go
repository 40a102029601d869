package schema

import (
	"fmt"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/api"
)

// An inspection checks the rules across the fields of one typed object, and gathers what the object says of others.
type inspection struct {
	tree     *value
	ref      api.Ref
	problems []api.Problem
	uses     []use
	// effectless says why the object is taken without effect, if it is.
	effectless string
	notes      []note
}

// A use is a mention of another object that must exist.
type use struct {
	target   api.Ref
	key      string // of a config map or secret; empty is the whole
	optional bool
	warning  bool                             // the object does without it, only worse
	port     *networkingv1.ServiceBackendPort // of a service
	source   api.Position
	field    string
}

// under joins field names and list indices.
func under(base []any, steps ...any) []any { return slices.Concat(base, steps) }

func (i *inspection) fail(at []any, format string, args ...any) { i.report(false, at, format, args...) }

func (i *inspection) warn(at []any, format string, args ...any) { i.report(true, at, format, args...) }

func (i *inspection) report(warning bool, at []any, format string, args ...any) {
	i.problems = append(i.problems, api.Problem{
		Source: i.tree.at(at).pos, Ref: i.ref, Field: fieldPath(at), Message: fmt.Sprintf(format, args...), Warning: warning,
	})
}

// note says something once for all objects that have the same key.
func (i *inspection) note(key string, at []any, format string, args ...any) {
	i.notes = append(i.notes, note{key: i.ref.Kind + " " + key, problem: api.Problem{
		Source: i.tree.at(at).pos, Ref: i.ref, Field: fieldPath(at), Message: fmt.Sprintf(format, args...), Warning: true,
	}})
}

// use notes that the object names another of its namespace, or with a key a part of it.
func (i *inspection) use(at []any, kind, name, key string, optional *bool) {
	i.uses = append(i.uses, use{
		target: api.Ref{Kind: kind, Namespace: i.ref.Namespace, Name: name}, key: key, optional: optional != nil && *optional,
		source: i.tree.at(at).pos, field: fieldPath(at),
	})
}

// mention notes that the object names another, without which it does less.
func (i *inspection) mention(at []any, kind, name string) {
	i.use(at, kind, name, "", nil)
	i.uses[len(i.uses)-1].warning = true
}

// labelSelector checks what a selector says by itself.
func (i *inspection) labelSelector(at []any, selector *metav1.LabelSelector) {
	if selector == nil {
		return
	}
	for n, r := range selector.MatchExpressions {
		needsValues := r.Operator == metav1.LabelSelectorOpIn || r.Operator == metav1.LabelSelectorOpNotIn
		if needsValues != (len(r.Values) > 0) {
			i.fail(under(at, "matchExpressions", n, "values"), "must hold values for In and NotIn, and none for Exists and DoesNotExist")
		}
	}
}

// address checks what a pattern cannot: that an address is one.
func (i *inspection) address(at []any, address string) {
	if _, err := netip.ParseAddr(address); address != "" && err != nil {
		i.fail(at, "%q is not an IP address such as 10.96.0.80 or fd00::1", address)
	}
}

// network checks a range of addresses, and gives it.
func (i *inspection) network(at []any, cidr string) netip.Prefix {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		i.fail(at, "%q is not a range of addresses such as 10.0.0.0/8 or fd00::/8", cidr)
		return netip.Prefix{}
	}
	return p
}

// percent is an amount as a share of a hundred; ok is false for a plain number.
func percent(v *intstr.IntOrString) (n int, ok bool) {
	if v == nil || v.Type != intstr.String {
		return 0, false
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, 100, true)
	return n, err == nil
}

// isZero reports an amount of 0 or 0%.
func isZero(v *intstr.IntOrString) bool { return v != nil && (v.String() == "0" || v.String() == "0%") }

// share refuses an amount of more than 100%.
func (i *inspection) share(at []any, v *intstr.IntOrString) {
	if n, ok := percent(v); ok && n > 100 {
		i.fail(at, "%s is more than 100%%", v)
	}
}
