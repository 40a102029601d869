package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A KindDoc says what becomes of a kind.
type KindDoc struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Class      string `json:"class"`            // implemented, accepted (without effect) or refused
	Reason     string `json:"reason,omitempty"` // why it is not implemented
}

// A FieldDoc explains a field, or a whole kind, as the definitions have it.
type FieldDoc struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"` // such as string, []Container or map[string]string
	Description string   `json:"description,omitempty"`
	Class       string   `json:"class"` // as of KindDoc
	Reason      string   `json:"reason,omitempty"`
	Required    bool     `json:"required,omitempty"`
	Default     any      `json:"default,omitempty"`
	Values      []string `json:"values,omitempty"`  // all that are allowed, where the list is short
	Allowed     string   `json:"allowed,omitempty"` // what a value must be, in words
	// RefusedValues are values that Kubernetes knows and headway refuses, with the reason.
	RefusedValues map[string]string `json:"refusedValues,omitempty"`
	// UniqueBy is the member that no two items of the list may share.
	UniqueBy string `json:"uniqueBy,omitempty"`
	// Choices are sets of members of which at most one may be given.
	Choices []Choice `json:"choices,omitempty"`
	// Fields are the members of a struct, or of each item of a list.
	Fields []FieldDoc `json:"fields,omitempty"`
}

// A Choice is a set of fields of which at most one may be given.
type Choice struct {
	Fields   []string `json:"fields"`
	Required bool     `json:"required,omitempty"` // one of them must be
}

// An Explanation is what there is to say of one field of a kind.
type Explanation struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Path       string   `json:"path,omitempty"` // from the object's top, such as spec.replicas; empty is the object itself
	Field      FieldDoc `json:"field"`
}

// Kinds lists every kind that headway knows by name: those it runs, then those it refuses or takes without effect.
func (c *Compiler) Kinds() []KindDoc {
	var docs []KindDoc
	for _, k := range kinds() {
		d := c.definitions[k.definition()]
		docs = append(docs, KindDoc{Kind: k.kind, APIVersion: k.apiVersion, Class: d.class.String(), Reason: d.reason})
	}
	for _, l := range laterKinds() {
		docs = append(docs, KindDoc{Kind: l.kind, APIVersion: l.apiVersion, Class: refused.String(), Reason: l.reason})
	}
	after := func(d KindDoc) int {
		if d.Class == implemented.String() {
			return 0
		}
		return 1
	}
	slices.SortFunc(docs, func(a, b KindDoc) int { return cmp.Or(cmp.Compare(after(a), after(b)), cmp.Compare(a.Kind, b.Kind)) })
	return docs
}

// Explain describes the field at a path of names below a kind, with its members; recursive goes into those too. The kind
// may be written in any case, and in the plural. Errors name what is misspelt, and what may have been meant.
func (c *Compiler) Explain(kind string, path []string, recursive bool) (Explanation, error) {
	doc, err := c.findKind(kind)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Kind: doc.Kind, APIVersion: doc.APIVersion, Path: strings.Join(path, ".")}
	entry, ok := c.kinds[doc.Kind]
	if !ok {
		if len(path) > 0 {
			return Explanation{}, fmt.Errorf("%s has no fields here: the kind is %s: %s", doc.Kind, doc.Class, doc.Reason)
		}
		out.Field = FieldDoc{Name: doc.Kind, Type: doc.Kind, Class: doc.Class, Reason: doc.Reason}
		return out, nil
	}
	definition := c.definitions[entry.definition()]
	f := &fieldRule{name: doc.Kind, typ: definition, class: definition.class, reason: definition.reason}
	for i, name := range path {
		if f, err = member(f, name, strings.Join(append([]string{doc.Kind}, path[:i]...), ".")); err != nil {
			return Explanation{}, err
		}
	}
	depth := 1
	if recursive {
		depth = maxDepth
	}
	out.Field = describe(f.name, f, depth, nil)
	if len(path) > 0 {
		out.Field.Name = path[len(path)-1]
	}
	return out, nil
}

// findKind looks a kind up by what a person writes for it.
func (c *Compiler) findKind(name string) (KindDoc, error) {
	all := c.Kinds()
	names := make([]string, len(all))
	for i, k := range all {
		names[i] = k.Kind
		for _, form := range []string{k.Kind, k.Kind + "s", k.Kind + "es", strings.TrimSuffix(k.Kind, "y") + "ies"} {
			if strings.EqualFold(name, form) {
				return k, nil
			}
		}
	}
	hint := "\"headway schema\" lists the kinds"
	if near := nearest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return KindDoc{}, fmt.Errorf("%s is not a kind that headway knows: %s", shorten(name), hint)
}

// member finds the rule of one field of a struct, or of the items of a list of structs.
func member(f *fieldRule, name, at string) (*fieldRule, error) {
	rule := structOf(f.typ)
	if rule == nil {
		return nil, fmt.Errorf("%s has no fields: it is %s", at, typeName(f.typ))
	}
	if m, ok := rule.byName[name]; ok {
		return m, nil
	}
	if len(rule.keys) > 0 {
		return &rule.keys[0].fieldRule, nil
	}
	names := make([]string, len(rule.fields))
	for i, m := range rule.fields {
		names[i] = m.name
	}
	hint := "it has " + strings.Join(names, ", ")
	if near := nearest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return nil, fmt.Errorf("%s has no field %s: %s", at, shorten(name), hint)
}

// structOf is the struct behind a constraint, through any lists; nil if there is none.
func structOf(c *constraint) *structRule {
	for _, a := range c.arms {
		switch {
		case a.fields != nil:
			return a.fields
		case a.elem != nil:
			return structOf(a.elem)
		}
	}
	return nil
}

// describe explains a field and, down to a depth, its members. A struct inside itself is not gone into again.
func describe(name string, f *fieldRule, depth int, within []*structRule) FieldDoc {
	doc := FieldDoc{
		Name: name, Type: typeName(f.typ), Class: f.class.String(), Reason: f.reason, Required: f.required, UniqueBy: f.unique,
		Description: f.doc,
	}
	rule := structOf(f.typ)
	if rule != nil {
		doc.Description = cmp.Or(f.doc, sentence(rule))
	}
	doc.Values, doc.Allowed = allowed(f.typ)
	// The only value that there can be is no default.
	if f.class != refused && (len(f.typ.arms) > 1 || doc.Allowed != "") {
		doc.Default = defaultOf(f.typ)
	}
	for _, b := range f.values {
		if doc.RefusedValues == nil {
			doc.RefusedValues = map[string]string{}
		}
		doc.RefusedValues[b.value] = b.reason
	}
	if rule == nil || depth == 0 || slices.Contains(within, rule) {
		return doc
	}
	within = append(slices.Clip(within), rule)
	for _, m := range rule.fields {
		doc.Fields = append(doc.Fields, describe(m.name, m, depth-1, within))
	}
	for i := range rule.keys {
		if len(rule.fields) > 0 || structOf(rule.keys[i].typ) != nil {
			doc.Fields = append(doc.Fields, describe("<key>", &rule.keys[i].fieldRule, depth-1, within))
		}
	}
	for _, one := range rule.oneOf {
		doc.Choices = append(doc.Choices, Choice{Fields: one.names, Required: one.atLeast > 0})
	}
	return doc
}

// sentence is a definition's comment, in which the name has lost CUE's mark.
func sentence(rule *structRule) string { return strings.TrimPrefix(rule.doc, "#") }

// defaultOf is what a field has when nobody writes it; nil when that is nothing.
func defaultOf(c *constraint) any {
	if c.deflt == nil || *c.deflt == "{}" || *c.deflt == `""` {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(*c.deflt), &v); err != nil {
		return *c.deflt
	}
	return v
}

// typeName writes a type as Go would: string, []Container, map[string]string.
func typeName(c *constraint) string {
	var names []string
	add := func(n string) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, a := range c.arms {
		switch {
		case a.kinds == anyKind:
			return "any"
		case a.elem != nil:
			add("[]" + typeName(a.elem))
		case a.fields != nil && len(a.fields.fields) == 0 && len(a.fields.keys) > 0:
			add("map[string]" + typeName(a.fields.keys[0].typ))
		case a.fields != nil && a.fields.name != "":
			add(strings.TrimPrefix(a.fields.name, "#"))
		case a.kinds&structKind != 0:
			add("object")
		case a.kinds&listKind != 0:
			add("list")
		default:
			for _, k := range [...]struct {
				kind kind
				name string
			}{{floatKind, "number"}, {intKind, "integer"}, {stringKind, "string"}, {boolKind, "boolean"}} {
				if a.kinds&k.kind != 0 && (k.kind != intKind || a.kinds&floatKind == 0) {
					add(k.name)
				}
			}
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " or ")
}

// allowed gives the only values of a scalar, or says in words what its values, or those of its items, must be.
func allowed(c *constraint) (values []string, words string) {
	if e := c.item(); e != nil {
		values, words = allowed(e)
		if words != "" {
			words = "each is " + words
		}
		return values, words
	}
	for _, a := range c.arms {
		if a.kinds&(structKind|listKind) != 0 {
			return nil, ""
		}
		if a.literal != nil && *a.literal != "" {
			values = append(values, *a.literal)
		}
	}
	words = c.expectation()
	switch {
	case len(values) > 0 && !slices.ContainsFunc(c.arms, func(a *arm) bool { return a.literal == nil }):
		return values, ""
	case slices.Contains([]string{"a string", "a bool", "a number", "a whole number", ""}, words):
		return nil, ""
	}
	return nil, words
}

// item is what a list, or a map, holds; nil if the constraint is neither.
func (c *constraint) item() *constraint {
	for _, a := range c.arms {
		switch {
		case a.elem != nil:
			return a.elem
		case a.fields != nil && len(a.fields.fields) == 0 && len(a.fields.keys) > 0:
			return a.fields.keys[0].typ
		}
	}
	return nil
}
