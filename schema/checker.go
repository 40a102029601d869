package schema

import (
	"encoding/json"
	"fmt"
	"strings"

	"headway.dev/headway/api"
)

// A checker walks one object along its definition. It reports every breach, and writes the object as JSON with defaults
// filled in, ready to be decoded.
type checker struct {
	ref      api.Ref
	path     []any // field names and list indices
	out      []byte
	problems []api.Problem
	notes    []note
	// unsound reports that the JSON is not what the author meant: something is missing or malformed, rather than
	// merely refused.
	unsound bool
	// refusing counts the refused things around the current place. What is refused is told once, as a whole: within it,
	// only what is wrong is.
	refusing int
}

// A note is a use of a field that has no effect, or of a kind that is not headway's. Notes of one key are told once.
type note struct {
	key     string
	problem api.Problem
	foreign bool // of a kind that is not headway's
}

func (c *checker) problem(pos api.Position, format string, args ...any) {
	c.unsound = true
	c.report(pos, fmt.Sprintf(format, args...))
}

// refuse reports what exists in Kubernetes, but not here.
func (c *checker) refuse(pos api.Position, format string, args ...any) {
	if c.refusing == 0 {
		c.report(pos, fmt.Sprintf(format, args...))
	}
}

func (c *checker) report(pos api.Position, message string) {
	c.problems = append(c.problems, api.Problem{Source: pos, Ref: c.ref, Field: fieldPath(c.path), Message: message})
}

// in runs f with the path extended by a step.
func (c *checker) in(step any, f func()) {
	c.path = append(c.path, step)
	f()
	c.path = c.path[:len(c.path)-1]
}

// check holds a value against what a field allows.
func (c *checker) check(f *fieldRule, typ *constraint, v *value) {
	if f.anycase {
		v = c.spelt(typ, v)
	}
	for _, a := range typ.arms {
		if !a.fits(v) {
			continue
		}
		switch v.kind {
		case structKind:
			c.structValue(a.fields, v)
		case listKind:
			c.list(f, a, v)
		default:
			c.blocked(f, typ, v)
			c.scalar(v)
		}
		return
	}
	c.mismatch(f, typ, v)
	c.out = append(c.out, "null"...)
}

// spelt gives the value of a list of values that differs from what is written in case only.
func (c *checker) spelt(typ *constraint, v *value) *value {
	for _, l := range typ.literals(nil) {
		if v.kind == stringKind && l != v.text && strings.EqualFold(l, v.text) {
			c.note(v.pos, fmt.Sprintf("%s is taken for %s", show(v), l))
			return &value{kind: stringKind, pos: v.pos, text: l}
		}
	}
	return v
}

// blocked refuses a value that the field may have in Kubernetes only.
func (c *checker) blocked(f *fieldRule, typ *constraint, v *value) {
	for _, b := range f.values {
		if b.value != v.text || v.kind != stringKind {
			continue
		}
		instead := ""
		if len(typ.literals(f.values)) > 0 {
			instead = "; what is supported is " + typ.expects(f.values)
		}
		c.refuse(v.pos, "%s is refused: %s%s", show(v), b.reason, instead)
	}
}

func (c *checker) scalar(v *value) {
	if v.kind == stringKind {
		c.quote(v.text)
		return
	}
	c.out = append(c.out, v.text...)
}

func (c *checker) quote(s string) {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	c.out = append(c.out, b...)
}

func (c *checker) list(f *fieldRule, a *arm, v *value) {
	c.out = append(c.out, '[')
	seen := map[string]*value{}
	for i, item := range v.items {
		if i > 0 {
			c.out = append(c.out, ',')
		}
		c.in(i, func() {
			c.check(f, a.elem, item)
			c.unique(f.unique, seen, item)
		})
	}
	c.out = append(c.out, ']')
}

// unique reports an item whose key an earlier one has.
func (c *checker) unique(key string, seen map[string]*value, item *value) {
	if key == "" {
		return
	}
	k := item.get(key)
	if k == nil || k.kind != stringKind {
		return
	}
	if first, ok := seen[k.text]; ok {
		c.in(key, func() {
			c.problem(k.pos, "%s is taken by an earlier item, at %s: each %s must be unique", show(k), first.pos, key)
		})
		return
	}
	seen[k.text] = k
}

// structValue checks the members of a struct against its rule; nil takes any.
func (c *checker) structValue(rule *structRule, v *value) {
	if rule == nil {
		c.out = append(c.out, "{}"...)
		return
	}
	c.out = append(c.out, '{')
	start := len(c.out)
	present := make(map[string]*value, len(v.fields))
	for i := range v.fields {
		m := &v.fields[i]
		c.in(rule.step(m.name), func() {
			if first, ok := present[m.name]; ok {
				c.problem(m.pos, "the key is doubled, first at %s: remove one of them", first.pos)
				return
			}
			present[m.name] = m.value
			f, meant := c.rule(rule, m)
			if f != nil {
				c.member(f, m, start)
			}
			if meant != "" && v.get(meant) == nil {
				present[meant] = m.value // that it is missing needs no telling
			}
		})
	}
	for _, f := range rule.fields {
		if m, ok := present[f.name]; !ok || m.kind == nullKind {
			c.absent(f, v, start)
		}
	}
	for _, one := range rule.oneOf {
		c.oneOf(one, v)
	}
	c.out = append(c.out, '}')
}

// rule finds the rule for a member, or reports that there is none, and which field was meant.
func (c *checker) rule(rule *structRule, m *field) (f *fieldRule, meant string) {
	if f, ok := rule.byName[m.name]; ok {
		return f, ""
	}
	name := &value{kind: stringKind, text: m.name, pos: m.pos}
	for i := range rule.keys {
		for _, a := range rule.keys[i].key.arms {
			if a.fits(name) {
				return &rule.keys[i].fieldRule, ""
			}
		}
	}
	switch {
	case rule.holdsSecrets():
		c.problem(m.pos, "the key (not shown) is not %s: write each key, ':', a space, and its value", rule.keys[0].key.expectation())
	case placeholder.MatchString(m.name):
		c.problem(m.pos, "the key %s is a placeholder: %s", shorten(m.name), noTemplates)
	case len(rule.fields) == 0 && len(rule.keys) > 0:
		c.problem(m.pos, "the key %s is not %s", shorten(m.name), rule.keys[0].key.expectation())
	default:
		hint := ""
		if meant = nearest(m.name, rule.names()); meant != "" {
			hint = fmt.Sprintf("; did you mean %s?", meant)
		}
		c.problem(m.pos, "is not a field of %s%s", strings.TrimPrefix(rule.name, "#"), hint)
	}
	return nil, meant
}

// member checks one member by its rule and writes it.
func (c *checker) member(f *fieldRule, m *field, start int) {
	v := m.value
	// A map of strings, as a config map's data, has its empty entries; a null field is an absent one.
	if v.kind == nullKind {
		if f.name == "" && f.class != refused && f.typ.kinds()&stringKind != 0 {
			c.key(m.name, start)
			c.out = append(c.out, `""`...)
		}
		return
	}
	switch f.class {
	case refused:
		if f.saysNothing(v) {
			return
		}
		c.refuse(m.pos, "is refused: %s", f.reason)
		if len(f.typ.arms) == 0 {
			return
		}
		c.refusing++
		defer func() { c.refusing-- }()
	case accepted:
		if m.pos.File != "" && c.refusing == 0 {
			c.note(m.pos, "has no effect: "+f.reason)
		}
	}
	c.key(m.name, start)
	c.check(f, f.typ, v)
}

func (c *checker) key(name string, start int) {
	if len(c.out) > start {
		c.out = append(c.out, ',')
	}
	c.quote(name)
	c.out = append(c.out, ':')
}

func (c *checker) note(pos api.Position, message string) {
	c.notes = append(c.notes, note{
		key:     c.ref.Kind + "." + fieldPattern(c.path),
		problem: api.Problem{Source: pos, Ref: c.ref, Field: fieldPath(c.path), Message: message, Warning: true},
	})
}

// absent fills in the default of a field that is not there, or misses it.
func (c *checker) absent(f *fieldRule, parent *value, start int) {
	switch {
	case f.required:
		c.in(f.name, func() {
			c.problem(parent.pos, "is required: %s", f.typ.expectation())
		})
	case f.optional || f.typ.deflt == nil:
	default:
		c.key(f.name, start)
		if a := f.typ.structArm(); a != nil && a.fields != nil {
			c.structValue(a.fields, &value{kind: structKind, pos: parent.pos})
			return
		}
		c.out = append(c.out, *f.typ.deflt...)
	}
}

func (c *checker) oneOf(one oneOf, v *value) {
	var have []*field
	for i := range v.fields {
		m := &v.fields[i]
		for _, n := range one.names {
			if m.name == n && m.value.kind != nullKind {
				have = append(have, m)
			}
		}
	}
	switch {
	case len(have) > 1:
		c.problem(have[1].pos, "has both %s and %s: only one of them may be set", have[0].name, have[1].name)
	case len(have) < one.atLeast:
		c.problem(v.pos, "needs one of %s", strings.Join(one.names, ", "))
	}
}

func (r *structRule) names() []string {
	names := make([]string, len(r.fields))
	for i, f := range r.fields {
		names[i] = f.name
	}
	return names
}
