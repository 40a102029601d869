package schema

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// references checks that what objects name is there.
func (l *linker) references() {
	for _, d := range l.declared {
		if !d.right() {
			continue
		}
		bad := false
		for _, u := range d.uses {
			if message := l.missing(u, d.stands()); message != "" {
				l.problems = append(l.problems, api.Problem{Source: u.source, Ref: d.ref, Field: u.field, Message: message, Warning: u.warning})
				bad = bad || !u.warning
			}
		}
		if bad {
			l.quarantine(d.ref)
		}
	}
}

// missing says what is wrong with a use; empty is nothing. That what is used does not stand concerns only what does.
func (l *linker) missing(u use, stands bool) string {
	target := l.find(u.target)
	switch {
	case target == nil && (u.optional || u.key != ""):
		// Where the whole is missing, that is said once.
		return ""
	case target == nil:
		return fmt.Sprintf("%s is not declared%s", u.target, l.elsewhere(u.target))
	case target.value == nil || stands && !target.stands():
		if u.key != "" {
			return ""
		}
		return fmt.Sprintf("%s has an error itself", u.target)
	case u.port != nil:
		return missingPort(u, target)
	case u.key == "" || u.optional:
		return ""
	}
	keys := keysOf(target.value)
	if slices.Contains(keys, u.key) {
		return ""
	}
	if near := nearest(u.key, keys); near != "" {
		return fmt.Sprintf("%q is not a key of %s; did you mean %s?", u.key, u.target, near)
	}
	return fmt.Sprintf("%q is not a key of %s, which has %s", u.key, u.target, strings.Join(keys, ", "))
}

// keysOf are the keys of a config map or a secret, in order.
func keysOf(object runtime.Object) []string {
	var keys []string
	switch v := object.(type) {
	case *corev1.ConfigMap:
		keys = slices.Concat(slices.Collect(maps.Keys(v.Data)), slices.Collect(maps.Keys(v.BinaryData)))
	case *corev1.Secret:
		keys = slices.Collect(maps.Keys(v.Data))
	}
	slices.Sort(keys)
	return keys
}

// missingPort says that a service lacks the port that is meant.
func missingPort(u use, target *declared) string {
	s, ok := target.value.(*corev1.Service)
	if !ok || s.Spec.Type == corev1.ServiceTypeExternalName {
		return ""
	}
	var have []string
	for _, p := range s.Spec.Ports {
		if u.port.Number == p.Port || u.port.Name != "" && u.port.Name == p.Name {
			return ""
		}
		have = append(have, strings.TrimSuffix(strconv.Itoa(int(p.Port))+" "+p.Name, " "))
	}
	want := cmp.Or(u.port.Name, strconv.Itoa(int(u.port.Number)))
	return fmt.Sprintf("%s has no port %s: it has %s", u.target, want, strings.Join(have, ", "))
}

// elsewhere looks for an object of the name in other namespaces, or of a like name in its own.
func (l *linker) elsewhere(ref api.Ref) string {
	var names, namespaces []string
	for _, d := range l.declared {
		switch r := d.ref; {
		case r.Kind != ref.Kind:
		case r.Namespace == ref.Namespace:
			names = append(names, r.Name)
		case r.Name == ref.Name:
			namespaces = append(namespaces, r.Namespace)
		}
	}
	if near := nearest(ref.Name, names); near != "" {
		return "; did you mean " + near + "?"
	}
	if len(namespaces) > 0 {
		return "; there is one in namespace " + namespaces[0]
	}
	return ""
}
