package schema

import (
	"encoding/base64"
	"fmt"

	"cuelang.org/go/cue"
)

// value reads a concrete CUE value. Positions that only an imported file has are left out.
func (w *cueWalk) value(v cue.Value) *value {
	if d, ok := v.Default(); ok {
		v = d
	}
	out := &value{pos: w.module.treePosition(v.Pos())}
	switch v.Kind() {
	case cue.NullKind:
		out.kind = nullKind
	case cue.BoolKind:
		b, _ := v.Bool()
		out.kind, out.text = boolKind, fmt.Sprint(b)
	case cue.IntKind:
		out.kind, out.text = intKind, jsonText(v)
	case cue.FloatKind, cue.NumberKind:
		out.kind, out.text = floatKind, jsonText(v)
	case cue.StringKind:
		out.kind = stringKind
		out.text, _ = v.String()
	case cue.BytesKind:
		b, _ := v.Bytes()
		out.kind, out.text = stringKind, base64.StdEncoding.EncodeToString(b)
	case cue.ListKind:
		out.kind = listKind
		list, _ := v.List()
		for list.Next() {
			out.items = append(out.items, w.value(list.Value()))
		}
	case cue.StructKind:
		out.kind = structKind
		fields, err := v.Fields()
		if err != nil {
			return out
		}
		for fields.Next() {
			f := w.value(fields.Value())
			out.fields = append(out.fields, field{fields.Selector().Unquoted(), f.pos, f})
		}
	}
	w.inherit(out)
	if out.pos.Line == 0 && (out.kind == structKind || out.kind == listKind) {
		out.pos = w.conjunctPosition(v) // an empty one, or one that the tree only names
	}
	return out
}

// jsonText is a number as JSON has it.
func jsonText(v cue.Value) string {
	b, err := v.MarshalJSON()
	if err != nil {
		return "0" // the value was found concrete before
	}
	return string(b)
}

// inherit gives a struct or list without a position that of its first member with one.
func (w *cueWalk) inherit(v *value) {
	if v.pos.Line > 0 {
		return
	}
	for _, f := range v.fields {
		if f.pos.Line > 0 {
			v.pos = f.pos
			return
		}
	}
	for _, i := range v.items {
		if i.pos.Line > 0 {
			v.pos = i.pos
			return
		}
	}
}
