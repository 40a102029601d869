package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// An environment is an ordered set of variables: a later one of the same name takes the place of the earlier.
type environment struct {
	names  []string
	values map[string]string
	links  map[string]string // to services: set only at the end, but referred to before

	confidential bool              // some of it comes from secrets
	skipped      []string          // what was left out, for a person
	missing      func(name string) // told of references to what is not set; nil is nobody
}

func (e *environment) set(name, value string) {
	if _, found := e.values[name]; !found {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

// list gives NAME=value, in the order in which the names first came.
func (e *environment) list() []string {
	list := make([]string, len(e.names))
	for i, name := range e.names {
		list[i] = name + "=" + e.values[name]
	}
	return list
}

// lookup gives the value of a name that is referred to.
func (e *environment) lookup(name string) (string, bool) {
	if value, set := e.values[name]; set {
		return value, true
	}
	value, set := e.links[name]
	return value, set
}

// expand replaces $(NAME) by the variable's value, and $$ by $, so that $$(NAME) stays as $(NAME). A reference to what is
// not set stays as it is written.
func (e *environment) expand(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		s = after
		if rest, escaped := strings.CutPrefix(s, "$"); escaped {
			b.WriteByte('$')
			s = rest
			continue
		}
		inner, opened := strings.CutPrefix(s, "(")
		name, rest, closed := strings.Cut(inner, ")")
		if !opened || !closed {
			b.WriteByte('$')
			continue
		}
		if value, set := e.lookup(name); set {
			b.WriteString(value)
		} else {
			b.WriteString("$(" + name + ")")
			if e.missing != nil {
				e.missing(name)
			}
		}
		s = rest
	}
}

// expandStrictly expands, and names what is referred to and not set.
func (e *environment) expandStrictly(s string) (expanded string, missing []string) {
	strict := &environment{values: e.values, links: e.links, missing: func(name string) { missing = append(missing, name) }}
	return strict.expand(s), missing
}

// expandAll expands the words of a command; nil stays nil.
func (e *environment) expandAll(words []string) []string {
	if words == nil {
		return nil
	}
	expanded := make([]string, len(words))
	for i, w := range words {
		expanded[i] = e.expand(w)
	}
	return expanded
}

// env builds a container's environment in Kubernetes' order: HOSTNAME, then whole config maps and secrets, then single
// variables, which may refer to all that came before them, and last the links to services where nothing else has the name.
func (s surroundings) env(c *corev1.Container) (*environment, error) {
	e := &environment{values: map[string]string{}, links: map[string]string{}}
	links := []variable(nil)
	if enabled := s.template.Spec.EnableServiceLinks; enabled == nil || *enabled {
		links = serviceLinks(s.routes, s.placement.Pod.Namespace)
	}
	for _, l := range links {
		e.links[l.name] = l.value
	}
	e.set("HOSTNAME", s.hostname)
	for _, from := range c.EnvFrom {
		if err := s.setFrom(e, from); err != nil {
			return nil, fmt.Errorf("envFrom: %w", err)
		}
	}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			e.set(v.Name, e.expand(v.Value))
			continue
		}
		value, found, err := s.resolve(e, *v.ValueFrom, c)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if found {
			e.set(v.Name, value)
		}
	}
	for _, l := range links {
		if _, set := e.values[l.name]; !set {
			e.set(l.name, l.value)
		}
	}
	return e, nil
}

// setFrom sets a variable for each key of a config map or secret. A key that no variable can be named after is left out,
// and noted.
func (s surroundings) setFrom(e *environment, from corev1.EnvFromSource) error {
	what, values, err := s.allOf(e, from)
	if err != nil {
		return err
	}
	var skipped []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if name := from.Prefix + key; isVariableName(name) {
			e.set(name, values[key])
		} else {
			skipped = append(skipped, key)
		}
	}
	if len(skipped) > 0 {
		e.skipped = append(e.skipped, fmt.Sprintf("keys %s of %s: no variable can have such a name", strings.Join(skipped, ", "), what))
	}
	return nil
}

// allOf gives all values of a config map or secret, none if it is optional and not there.
func (s surroundings) allOf(e *environment, from corev1.EnvFromSource) (what string, values map[string]string, err error) {
	switch {
	case from.ConfigMapRef != nil:
		ref := from.ConfigMapRef
		config, found := s.configs[ref.Name]
		if !found {
			return "", nil, s.absent(configMap, ref.Name, "", nil, ref.Optional)
		}
		return configMap + " " + ref.Name, config.Data, nil
	case from.SecretRef != nil:
		ref := from.SecretRef
		secret, found := s.secrets[ref.Name]
		if !found {
			return "", nil, s.absent(secretKind, ref.Name, "", nil, ref.Optional)
		}
		e.confidential = true
		values = map[string]string{}
		for key, value := range secret.Reveal() {
			values[key] = string(value)
		}
		return secretKind + " " + ref.Name, values, nil
	}
	return "", nil, errors.New("it needs a configMapRef or a secretRef")
}

const (
	configMap  = "config map"
	secretKind = "secret"
)

// isVariableName says whether a variable can have the name, by Kubernetes' rule: printable ASCII but for =.
func isVariableName(name string) bool {
	unfit := func(r rune) bool { return r < ' ' || r > '~' || r == '=' }
	return name != "" && !strings.ContainsFunc(name, unfit)
}

// resolve gives the value that a variable takes from elsewhere; not found is an optional one that is not there.
func (s surroundings) resolve(e *environment, from corev1.EnvVarSource, c *corev1.Container) (value string, found bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = s.field(from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = s.resource(from.ResourceFieldRef, c)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		config, there := s.configs[ref.Name]
		if value, found = config.Data[ref.Key]; found {
			return value, true, nil
		}
		var keys []string
		if there {
			keys = slices.AppendSeq([]string{}, maps.Keys(config.Data))
		}
		return "", false, s.absent(configMap, ref.Name, ref.Key, keys, ref.Optional)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		secret, there := s.secrets[ref.Name]
		if data, found := secret.Reveal()[ref.Key]; found {
			e.confidential = true
			return string(data), true, nil
		}
		var keys []string
		if there {
			keys = append([]string{}, secret.Keys()...)
		}
		return "", false, s.absent(secretKind, ref.Name, ref.Key, keys, ref.Optional)
	}
	return "", false, errors.New("only fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef are supported")
}

// absent explains what is missing, unless it may. Nil keys are those of an object that is not there at all.
func (s surroundings) absent(kind, name, key string, keys []string, optional *bool) error {
	switch {
	case optional != nil && *optional:
		return nil
	case keys == nil:
		return fmt.Errorf("there is no %s %s in namespace %s", kind, name, s.placement.Pod.Namespace)
	}
	slices.Sort(keys)
	return fmt.Errorf("%s %s has no key %s; it has %s", kind, name, key, strings.Join(keys, ", "))
}
