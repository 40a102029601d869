package planner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"headway.dev/headway/api"
)

// ChangeKind is what became of an object.
type ChangeKind string

// The kinds of change.
const (
	ObjectAdded   ChangeKind = "added"
	ObjectRemoved ChangeKind = "removed"
	ObjectChanged ChangeKind = "changed"
)

// An ObjectChange is how one object differs between two revisions.
type ObjectChange struct {
	Ref  api.Ref    `json:"ref"`
	Kind ChangeKind `json:"kind"`
	// Source is where the object is declared, or where it was before it was removed.
	Source api.Position `json:"source"`
	// Fields are what changed within the object, ordered by path.
	Fields []FieldChange `json:"fields,omitempty"`
}

// A FieldChange is how one field differs. From and To are JSON; one is empty where the field is absent.
type FieldChange struct {
	// Path leads to the field: spec.template.spec.containers[web].image. Elements of a list go by their name or other key
	// where they have one, and else by their index.
	Path string `json:"path"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// String gives the change as a person reads it.
func (c FieldChange) String() string { return c.Path + " " + c.values() }

func (c FieldChange) values() string {
	switch {
	case c.From == "":
		return "set to " + abridge(c.To)
	case c.To == "":
		return "removed (was " + abridge(c.From) + ")"
	}
	return abridge(c.From) + " -> " + abridge(c.To)
}

// abridge cuts a long value where a sentence has to hold it.
func abridge(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// Diff says how the objects differ, ordered by ref. What the system itself reports of an object is no difference, nor is
// where it is declared. The content of a Secret is hidden.
func Diff(from, to []api.Object) ([]ObjectChange, error) {
	before, after := byRef(from), byRef(to)
	refs := slices.Collect(maps.Keys(before))
	for ref := range after {
		if _, ok := before[ref]; !ok {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, api.Ref.Compare)
	changes := []ObjectChange{}
	for _, ref := range refs {
		a, was := before[ref]
		b, is := after[ref]
		switch {
		case !was:
			changes = append(changes, ObjectChange{Ref: ref, Kind: ObjectAdded, Source: b.Source})
		case !is:
			changes = append(changes, ObjectChange{Ref: ref, Kind: ObjectRemoved, Source: a.Source})
		default:
			fields, err := fieldChanges(a.Hollow().Value, b.Hollow().Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", ref, err)
			}
			fields = slices.DeleteFunc(fields, func(c FieldChange) bool {
				return c.Path == "status" || strings.HasPrefix(c.Path, "status.")
			})
			if ref.Kind == "Secret" {
				hide(fields)
				if a.Fingerprint != b.Fingerprint {
					fields = slices.Insert(fields, 0, FieldChange{Path: "data", From: hidden, To: hidden})
				}
			}
			if len(fields) > 0 {
				changes = append(changes, ObjectChange{Ref: ref, Kind: ObjectChanged, Source: b.Source, Fields: fields})
			}
		}
	}
	return changes, nil
}

func byRef(objects []api.Object) map[api.Ref]api.Object {
	m := make(map[api.Ref]api.Object, len(objects))
	for _, o := range objects {
		m[o.Ref] = o
	}
	return m
}

// hidden stands for what a Secret holds, and held.
const hidden = `"(hidden)"`

// hide keeps a secret's content out of its changes; that it changed is all there is to know.
func hide(fields []FieldChange) {
	for i := range fields {
		for _, value := range []*string{&fields[i].From, &fields[i].To} {
			if *value != "" && !strings.HasPrefix(fields[i].Path, "metadata.name") {
				*value = hidden
			}
		}
	}
}

// fieldChanges compares two values by their JSON.
func fieldChanges(from, to any) ([]FieldChange, error) {
	a, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(to)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(a, b) {
		return nil, nil
	}
	var d differ
	d.compare("", decode(a), decode(b))
	return d.changes, nil
}

// decode reads JSON that was just written. Numbers stay as they are spelled.
func decode(data []byte) any {
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil
	}
	return v
}

// A differ collects changes, ordered by path.
type differ struct{ changes []FieldChange }

func (d *differ) compare(path string, from, to any) {
	switch a := from.(type) {
	case map[string]any:
		if b, ok := to.(map[string]any); ok {
			d.compareMaps(path, a, b)
			return
		}
	case []any:
		if b, ok := to.([]any); ok {
			d.compareLists(path, a, b)
			return
		}
	}
	if f, t := render(from), render(to); f != t {
		d.changes = append(d.changes, FieldChange{Path: path, From: f, To: t})
	}
}

func (d *differ) compareMaps(path string, from, to map[string]any) {
	keys := slices.Collect(maps.Keys(from))
	for key := range to {
		if _, ok := from[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		d.compare(join(path, key), from[key], to[key])
	}
}

// listKeys are the fields that tell elements of a list apart, the most telling first.
var listKeys = []string{"name", "mountPath", "containerPort", "port", "key", "ip", "path"}

// compareLists pairs elements by the first key that all of them have and no two of a list share, and else by index.
func (d *differ) compareLists(path string, from, to []any) {
	for _, key := range listKeys {
		a, namesA, ok := keyed(from, key)
		if !ok {
			continue
		}
		b, namesB, ok := keyed(to, key)
		if !ok {
			continue
		}
		for _, name := range namesA {
			d.compare(path+"["+name+"]", a[name], b[name])
		}
		for _, name := range namesB {
			if _, known := a[name]; !known {
				d.compare(path+"["+name+"]", nil, b[name])
			}
		}
		both := func(m map[string]any) func(string) bool {
			return func(name string) bool { _, ok := m[name]; return !ok }
		}
		namesA, namesB = slices.DeleteFunc(namesA, both(b)), slices.DeleteFunc(namesB, both(a))
		if !slices.Equal(namesA, namesB) { // such as init containers, which run in their order
			d.changes = append(d.changes, FieldChange{Path: path + " order", From: render(namesA), To: render(namesB)})
		}
		return
	}
	for i := range max(len(from), len(to)) {
		var a, b any
		if i < len(from) {
			a = from[i]
		}
		if i < len(to) {
			b = to[i]
		}
		d.compare(path+"["+strconv.Itoa(i)+"]", a, b)
	}
}

// keyed gives the elements by their key, and the keys in the order of the list.
func keyed(list []any, key string) (elements map[string]any, names []string, ok bool) {
	elements = make(map[string]any, len(list))
	for _, e := range list {
		m, isMap := e.(map[string]any)
		if !isMap || m[key] == nil {
			return nil, nil, false
		}
		name := fmt.Sprint(m[key])
		if _, twice := elements[name]; twice {
			return nil, nil, false
		}
		elements[name] = e
		names = append(names, name)
	}
	return elements, names, true
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join adds a field to a path.
func join(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// render gives a value as JSON, without escapes that only HTML needs; nothing for one that is absent.
func render(v any) string {
	if v == nil {
		return ""
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}
