package schema

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"headway.dev/headway/api"
)

// value reads a concrete CUE value. Positions that only an imported file has are left out.
func (w *cueWalk) value(v cue.Value) *value {
	if d, ok := v.Default(); ok {
		v = d
	}
	out := &value{pos: w.position(v)}
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

// treePosition is a position in the tree; zero for one in a file that headway adds.
func (m *cueModule) treePosition(p token.Pos) api.Position {
	if !p.IsValid() || strings.Contains(m.inTree(p.Filename()), builtinDir) {
		return api.Position{}
	}
	return api.Position{File: m.inTree(p.Filename()), Line: p.Line(), Column: p.Column()}
}

// problems translates CUE's errors: one for each place, however many alternatives failed there.
func (m *cueModule) problems(dir string, ref api.Ref, at []string, err error) []api.Problem {
	var out []api.Problem
	told := map[string]int{} // the problem of each path
	for _, ce := range errors.Errors(err) {
		path := errors.Path(ce)
		if len(path) >= len(at) && slices.Equal(path[:len(at)], at) {
			path = path[len(at):]
		}
		p := api.Problem{Source: m.errorPosition(dir, ce), Ref: ref, Field: cueField(path), Message: m.message(ce)}
		if strings.Contains(p.Message, "empty disjunction") {
			continue // what follows says why each alternative failed
		}
		if first, ok := told[p.Field]; ok && p.Field != "" {
			if !strings.Contains(out[first].Message, p.Message) {
				out[first].Message += "; or: " + p.Message
			}
			continue
		}
		told[p.Field] = len(out)
		out = append(out, p)
	}
	if len(out) == 0 {
		out = append(out, api.Problem{Source: api.Position{File: dir}, Ref: ref, Message: err.Error()})
	}
	return out
}

func (m *cueModule) errorPosition(dir string, err errors.Error) api.Position {
	for _, p := range append([]token.Pos{err.Position()}, err.InputPositions()...) {
		if pos := m.treePosition(p); pos.Line > 0 {
			return pos
		}
	}
	return api.Position{File: dir}
}

var (
	packagePrefix = regexp.MustCompile(`^\["[^"]*"\]: `)
	importPrefix  = regexp.MustCompile(`^import failed: (\S+:\d+:\d+: )?`)
)

// message is an error's text, with its causes but without its path.
func (m *cueModule) message(err errors.Error) string {
	text := strings.TrimPrefix(err.Error(), strings.Join(errors.Path(err), ".")+": ")
	text = importPrefix.ReplaceAllString(packagePrefix.ReplaceAllString(text, ""), "")
	text = strings.ReplaceAll(text, m.mount+string(filepath.Separator), "")
	if strings.Contains(text, "cannot find module providing package") {
		text += ": headway fetches no modules; vendor it under cue.mod/pkg"
	}
	return strings.Join(strings.Fields(text), " ")
}

// cueField writes a CUE path as other fields are written.
func cueField(path []string) string {
	steps := make([]any, len(path))
	for i, s := range path {
		steps[i] = s
		if n := strings.Trim(s, "0123456789"); n == "" && s != "" {
			var index int
			if _, err := fmt.Sscan(s, &index); err == nil {
				steps[i] = index
			}
		}
	}
	return fieldPath(steps)
}
