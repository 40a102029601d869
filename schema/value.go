package schema

import (
	"headway.dev/headway/api"
)

// A value is one node of a parsed document, whatever language it was written in. It knows its position.
type value struct {
	kind kind
	pos  api.Position
	// text is a string's content, or the JSON form of a number or bool.
	text string
	// written is what the source has in place of text, where that differs: yes for true.
	written string
	items   []*value
	fields  []field // in the order of the source
}

// A field is a member of a struct value.
type field struct {
	name  string
	pos   api.Position
	value *value
}

// kind is the kind of a value; sets of kinds are sums.
type kind uint8

const (
	nullKind kind = 1 << iota
	boolKind
	intKind
	floatKind
	stringKind
	listKind
	structKind

	anyKind = nullKind | boolKind | intKind | floatKind | stringKind | listKind | structKind
)

// String names the kind, or the first of a set, with its article.
func (k kind) String() string {
	for _, n := range [...]struct {
		kind kind
		name string
	}{
		{structKind, "a map"},
		{listKind, "a list"},
		{stringKind, "a string"},
		{intKind | floatKind, "a number"},
		{boolKind, "a bool"},
		{nullKind, "null"},
	} {
		if k&n.kind == 0 {
			continue
		}
		if k&(intKind|floatKind) == intKind {
			return "a whole number"
		}
		return n.name
	}
	return "nothing"
}

// get finds a member of a struct; nil when there is none.
func (v *value) get(name string) *value {
	if v == nil || v.kind != structKind {
		return nil
	}
	for i := range v.fields {
		if v.fields[i].name == name {
			return v.fields[i].value
		}
	}
	return nil
}

// str gives the text of the string found along names; empty when there is none.
func (v *value) str(names ...string) string {
	for _, n := range names {
		v = v.get(n)
	}
	if v == nil || v.kind != stringKind {
		return ""
	}
	return v.text
}

// at walks a path of field names and list indices as far as it exists.
func (v *value) at(path []any) *value {
	for _, step := range path {
		var next *value
		switch s := step.(type) {
		case string:
			next = v.get(s)
		case int:
			if v.kind == listKind && s < len(v.items) {
				next = v.items[s]
			}
		}
		if next == nil {
			return v
		}
		v = next
	}
	return v
}

// empty reports whether the value says nothing: null, false, 0, "", [] or {}.
func (v *value) empty() bool {
	switch v.kind {
	case nullKind:
		return true
	case boolKind:
		return v.text == "false"
	case intKind:
		return v.text == "0"
	case stringKind:
		return v.text == ""
	case listKind:
		return len(v.items) == 0
	case structKind:
		return len(v.fields) == 0
	}
	return false
}
