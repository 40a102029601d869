package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/api"
)

// A leaf is a value without members, and where it stands: spec.containers[0].image.
type leaf struct {
	path  string
	steps []any
	value any
}

func (l leaf) String() string { return fmt.Sprintf("%s: %v", l.path, l.value) }

// leaves lists those below v in the order of their paths. Empty maps and lists are leaves; null is nothing.
func leaves(v any, path string, steps []any) []leaf {
	var out []leaf
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, leaves(v[k], join(path, k), append(slices.Clip(steps), k))...)
		}
		if len(v) > 0 {
			return out
		}
	case []any:
		for i, e := range v {
			out = append(out, leaves(e, fmt.Sprintf("%s[%d]", path, i), append(slices.Clip(steps), i))...)
		}
		if len(v) > 0 {
			return out
		}
	}
	return []leaf{{path, steps, v}}
}

// join extends a path as headway's problems write them.
func join(path, key string) string {
	switch {
	case strings.ContainsAny(key, ".[]/ "):
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}

// at walks steps from v; false if they lead nowhere.
func at(v any, steps []any) (any, bool) {
	for _, step := range steps {
		switch s := step.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				return nil, false
			}
			if v, ok = m[s]; !ok {
				return nil, false
			}
		case int:
			l, ok := v.([]any)
			if !ok || s >= len(l) {
				return nil, false
			}
			v = l[s]
		}
	}
	return v, true
}

// dropped lists the leaves of a document that its object lacks and that no problem tells of. typed is the document as
// Kubernetes' own type holds it, or nil: what the author wrote in other words (null, 0644, 1000m) reads the same there.
func dropped(d document, typed, object any, problems []api.Problem) ([]leaf, error) {
	var written any
	if err := yaml.Unmarshal(d.data, &written); err != nil {
		return nil, err
	}
	told := map[string]bool{}
	for _, p := range problems {
		told[pattern(p.Field)] = true
	}
	var out []leaf
	for _, l := range leaves(written, "", nil) {
		want := l.value
		if normal, ok := at(typed, l.steps); ok {
			want = normal
		} else if zero(l.value) {
			continue // the type does not tell it from absence
		}
		got, ok := at(object, moved(l))
		if ok && same(l, want, got) || isTold(told, l.path) || meansAbsent(l) {
			continue
		}
		out = append(out, l)
	}
	return out, nil
}

// meansAbsent knows a value that Kubernetes tells from absence and headway does not: a target port of 0 is that of the
// service.
func meansAbsent(l leaf) bool {
	return l.steps[len(l.steps)-1] == "targetPort" && fmt.Sprint(l.value) == "0"
}

// moved is where the value stands in an object whose author used another way to write it.
func moved(l leaf) []any {
	steps := slices.Clone(l.steps)
	for i, s := range steps {
		switch {
		case s == "stringData" && i == 0:
			steps[i] = "data"
		case s == "serviceAccount":
			steps[i] = "serviceAccountName"
		case s == "backend" && i == 1: // of an old Ingress
			steps[i] = "defaultBackend"
		case s == "serviceName" && i > 1: // of an old Ingress' backend; a StatefulSet's stands right below spec
			return append(steps[:i], "service", "name")
		case s == "servicePort":
			if _, named := l.value.(string); named {
				return append(steps[:i], "service", "port", "name")
			}
			return append(steps[:i], "service", "port", "number")
		}
	}
	return steps
}

var index = regexp.MustCompile(`\[\d+\]`)

func pattern(path string) string { return index.ReplaceAllString(path, "[]") }

// isTold looks for a problem at the path or above it. One at the root is of the whole object, not of what it holds.
func isTold(told map[string]bool, path string) bool {
	for path = pattern(path); path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if told[path] {
			return true
		}
	}
	return false
}

func zero(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return v == nil || reflect.ValueOf(v).IsZero()
}

// same compares values that may be written in different words: numbers, quantities, durations, base64, and words whose case does
// not matter. Only an apiVersion may be another one: the one that the object was converted to.
func same(l leaf, want, got any) bool {
	if reflect.DeepEqual(want, got) || l.path == "apiVersion" {
		return true
	}
	if m, ok := want.(map[string]any); ok && len(m) == 0 {
		_, ok := got.(map[string]any)
		return ok // with defaults filled in
	}
	a, b := fmt.Sprint(want), fmt.Sprint(got)
	switch {
	case a == b:
		return true
	case l.steps[0] == "stringData":
		return base64.StdEncoding.EncodeToString([]byte(a)) == b
	case strings.HasSuffix(l.path, "protocol") || strings.Contains(l.path, ".capabilities."):
		return strings.EqualFold(a, b)
	case strings.Join(strings.Fields(a), "") == b:
		return true
	}
	if d, err := time.ParseDuration(a); err == nil {
		if e, err := time.ParseDuration(b); err == nil {
			return d == e
		}
	}
	q, err1 := resource.ParseQuantity(a)
	r, err2 := resource.ParseQuantity(b)
	return err1 == nil && err2 == nil && q.Cmp(r) == 0
}
