package node

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// surroundings are what a container's environment can refer to.
type surroundings struct {
	pod      api.PodIdentity
	template *api.PodTemplate
	configs  map[string]api.ConfigData
	hostname string
	node     string
	hostIP   string
	podIP    netip.Addr
}

// An environment is an ordered set of variables: a later one of the same name takes the place of the earlier.
type environment struct {
	names  []string
	values map[string]string
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
		if value, set := e.values[name]; set {
			b.WriteString(value)
		} else {
			b.WriteString("$(" + name + ")")
		}
		s = rest
	}
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

// env builds a container's environment in Kubernetes' order: HOSTNAME, then whole config maps, then single variables,
// which may refer to all that came before them.
func (s surroundings) env(c *corev1.Container) (*environment, error) {
	e := &environment{values: map[string]string{}}
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
		value, found, err := s.resolve(*v.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if found {
			e.set(v.Name, value)
		}
	}
	return e, nil
}

// setFrom sets a variable for each key of a config map. A key that no variable can be named after is left out.
func (s surroundings) setFrom(e *environment, from corev1.EnvFromSource) error {
	ref := from.ConfigMapRef
	if ref == nil {
		return fmt.Errorf("only config maps are supported")
	}
	config, found := s.configs[ref.Name]
	if !found {
		return s.absent(ref.Name, "", ref.Optional)
	}
	for _, key := range slices.Sorted(maps.Keys(config.Data)) {
		if name := from.Prefix + key; name != "" && !strings.ContainsAny(name, "=\x00") {
			e.set(name, config.Data[key])
		}
	}
	return nil
}

// resolve gives the value that a variable takes from elsewhere; not found is an optional one that is not there.
func (s surroundings) resolve(from corev1.EnvVarSource) (value string, found bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = s.field(from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ConfigMapKeyRef == nil:
		return "", false, fmt.Errorf("only fieldRef and configMapKeyRef are supported")
	}
	ref := from.ConfigMapKeyRef
	if value, found = s.configs[ref.Name].Data[ref.Key]; found {
		return value, true, nil
	}
	return "", false, s.absent(ref.Name, ref.Key, ref.Optional)
}

// absent explains what is missing, unless it may.
func (s surroundings) absent(name, key string, optional *bool) error {
	config, found := s.configs[name]
	switch {
	case optional != nil && *optional:
		return nil
	case !found:
		return fmt.Errorf("there is no config map %s in namespace %s", name, s.pod.Pod.Namespace)
	}
	keys := slices.Sorted(maps.Keys(config.Data))
	return fmt.Errorf("config map %s has no key %s; it has %s", name, key, strings.Join(keys, ", "))
}

// field gives a field of the pod, by its path in Kubernetes' form.
func (s surroundings) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return s.pod.Pod.Name, nil
	case "metadata.namespace":
		return s.pod.Pod.Namespace, nil
	case "metadata.uid":
		return s.pod.UID, nil
	case "spec.nodeName":
		return s.node, nil
	case "status.podIP":
		return s.podIP.String(), nil
	case "status.hostIP":
		return s.hostIP, nil
	}
	for prefix, values := range map[string]map[string]string{
		"metadata.labels['": s.template.Labels, "metadata.annotations['": s.template.Annotations,
	} {
		if rest, found := strings.CutPrefix(path, prefix); found && strings.HasSuffix(rest, "']") {
			return values[strings.TrimSuffix(rest, "']")], nil
		}
	}
	return "", fmt.Errorf("fieldPath %q is not one of metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], "+
		"metadata.annotations['KEY'], spec.nodeName, status.podIP and status.hostIP", path)
}
