package schema

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
)

// lowering turns the definitions into constraints, once for every process: evaluating a Deployment in CUE takes about a
// millisecond, walking it along these tables a few microseconds, and each failure knows the one rule that it broke.
//
// It takes a part of CUE (no references but to definitions, no comprehensions) and errors on anything else, so that
// nothing in the definitions can go unenforced.
type lowering struct {
	decls map[string]*ast.Field
	done  map[string]*constraint
}

// lowerDefinitions reads every CUE file of fsys.
func lowerDefinitions(fsys fs.FS) (map[string]*constraint, error) {
	l := &lowering{decls: map[string]*ast.Field{}, done: map[string]*constraint{}}
	names, err := fs.Glob(fsys, "*.cue")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(name, data, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.Field); ok {
				l.decls[labelOf(f)] = f
			}
		}
	}
	for name := range l.decls {
		if _, err := l.definition(name); err != nil {
			return nil, fmt.Errorf("definition %s: %w", name, err)
		}
	}
	return l.done, nil
}

func labelOf(f *ast.Field) string {
	name, _, err := ast.LabelName(f.Label)
	if err != nil {
		return ""
	}
	return name
}

// definition lowers a definition by name. A struct may refer to itself.
func (l *lowering) definition(name string) (*constraint, error) {
	if c, ok := l.done[name]; ok {
		return c, nil
	}
	decl, ok := l.decls[name]
	if !ok {
		return nil, fmt.Errorf("there is no definition %s", name)
	}
	c := &constraint{name: name}
	l.done[name] = c
	if err := c.attributes(decl.Attrs); err != nil {
		return nil, err
	}
	doc := docOf(decl)
	if lit, ok := decl.Value.(*ast.StructLit); ok {
		rule := &structRule{name: name, doc: doc, byName: map[string]*fieldRule{}}
		c.arms = []*arm{{kinds: structKind, fields: rule}}
		return c, l.structLit(rule, lit)
	}
	if and, ok := decl.Value.(*ast.BinaryExpr); ok && and.Op == token.AND && isMatchN(and.Y) {
		rule := &structRule{name: name, doc: doc, byName: map[string]*fieldRule{}}
		c.arms = []*arm{{kinds: structKind, fields: rule}}
		return c, l.union(rule, and)
	}
	low, err := l.expr(decl.Value)
	if err != nil {
		return nil, err
	}
	c.arms, c.deflt = low.arms, low.deflt
	if _, is, ok := strings.Cut(doc, name+" is "); ok {
		c.doc = strings.TrimSuffix(is, ".")
	}
	return c, nil
}

// docOf is a declaration's comment as one line.
func docOf(n ast.Node) string {
	var lines []string
	for _, g := range ast.Comments(n) {
		if g.Doc {
			lines = append(lines, strings.TrimSpace(g.Text()))
		}
	}
	return strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
}

func (l *lowering) structLit(rule *structRule, lit *ast.StructLit) error {
	for _, d := range lit.Elts {
		switch d := d.(type) {
		case *ast.Field:
			if err := l.field(rule, d); err != nil {
				return fmt.Errorf("%s: %w", labelOf(d), err)
			}
		case *ast.EmbedDecl:
			if err := l.embed(rule, d.Expr); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a struct with %T", d)
		}
	}
	return nil
}

// embed takes in another definition's fields.
func (l *lowering) embed(rule *structRule, expr ast.Expr) error {
	ident, ok := expr.(*ast.Ident)
	if !ok {
		return fmt.Errorf("an embedded %T", expr)
	}
	other, err := l.definition(ident.Name)
	if err != nil {
		return err
	}
	a := other.structArm()
	if a == nil || a.fields == nil {
		return fmt.Errorf("%s is embedded, but not a struct", ident.Name)
	}
	for _, f := range a.fields.fields {
		rule.add(f)
	}
	rule.keys = append(rule.keys, a.fields.keys...)
	rule.oneOf = append(rule.oneOf, a.fields.oneOf...)
	return nil
}

func (r *structRule) add(f *fieldRule) {
	r.fields = append(r.fields, f)
	r.byName[f.name] = f
}

// markMembers tells the fields that a oneOf names of it.
func (r *structRule) markMembers() {
	for _, one := range r.oneOf {
		for _, name := range one.names {
			if f, ok := r.byName[name]; ok {
				f.member = true
			}
		}
	}
}

func isMatchN(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return false
	}
	fun, ok := call.Fun.(*ast.Ident)
	return ok && fun.Name == "matchN"
}

// union lowers #Fields & matchN(1, [{a!: _}, {b!: _}]). (A matchN embedded in the struct itself would open it: CUE then
// takes any field.)
func (l *lowering) union(rule *structRule, and *ast.BinaryExpr) error {
	if err := l.embed(rule, and.X); err != nil {
		return err
	}
	call, ok := and.Y.(*ast.CallExpr)
	if !ok {
		return fmt.Errorf("a %T where matchN belongs", and.Y)
	}
	one, err := matchOne(call)
	if err != nil {
		return err
	}
	rule.oneOf = append(rule.oneOf, one)
	rule.markMembers()
	return nil
}

// matchOne reads matchN(1, [{a!: _}, {b!: _}]), or with <=1.
func matchOne(call *ast.CallExpr) (oneOf, error) {
	var one oneOf
	switch n := call.Args[0].(type) {
	case *ast.BasicLit:
		one.atLeast = 1
	case *ast.UnaryExpr:
		if n.Op != token.LEQ {
			return one, fmt.Errorf("matchN with %s", n.Op)
		}
	}
	list, ok := call.Args[1].(*ast.ListLit)
	if !ok {
		return one, fmt.Errorf("matchN without a list")
	}
	for _, e := range list.Elts {
		lit, ok := e.(*ast.StructLit)
		if !ok || len(lit.Elts) != 1 {
			return one, fmt.Errorf("matchN over something other than {field!: _}")
		}
		f, ok := lit.Elts[0].(*ast.Field)
		if !ok || f.Constraint != token.NOT {
			return one, fmt.Errorf("matchN over something other than {field!: _}")
		}
		one.names = append(one.names, labelOf(f))
	}
	return one, nil
}

func (l *lowering) field(rule *structRule, d *ast.Field) error {
	f := fieldRule{doc: docOf(d), required: d.Constraint == token.NOT, optional: d.Constraint == token.OPTION}
	var err error
	if f.typ, err = l.expr(d.Value); err != nil {
		return err
	}
	for _, a := range d.Attrs {
		if err := f.attribute(a); err != nil {
			return err
		}
	}
	if list, ok := d.Label.(*ast.ListLit); ok && len(list.Elts) == 1 {
		key, err := l.expr(list.Elts[0])
		rule.keys = append(rule.keys, keyRule{key: key, fieldRule: f})
		return err
	}
	f.name = labelOf(d)
	// A regular field is there even if nobody writes it.
	if !f.required && !f.optional && f.typ.deflt == nil {
		if err := f.materialize(); err != nil {
			return err
		}
	}
	rule.add(&f)
	return nil
}

// materialize gives a regular field without a default the only value that it can have.
func (f *fieldRule) materialize() error {
	if len(f.typ.arms) != 1 {
		return fmt.Errorf("a regular field without a default")
	}
	a := f.typ.arms[0]
	copied := *f.typ
	switch {
	case a.literal != nil:
		text := a.json()
		copied.deflt = &text
	case a.fields != nil:
		text := "{}"
		copied.deflt = &text
	default:
		return fmt.Errorf("a regular field without a default")
	}
	f.typ = &copied
	return nil
}

// attributes reads what becomes of the objects of a kind.
func (c *constraint) attributes(all []*ast.Attribute) error {
	var f fieldRule
	for _, a := range all {
		if err := f.attribute(a); err != nil {
			return err
		}
	}
	c.class, c.reason = f.class, f.reason
	return nil
}

func (f *fieldRule) attribute(a *ast.Attribute) error {
	key, body := a.Split()
	var err error
	switch key {
	case "accepted":
		f.class = accepted
		f.reason, err = strconv.Unquote(body)
	case "refused":
		f.class = refused
		f.reason, err = strconv.Unquote(body)
	case "unique":
		f.unique = body
	case "secret":
		f.secret = true
	case "anycase":
		f.anycase = true
	case "value":
		value, reason, _ := strings.Cut(body, ",")
		b := valueBlock{value: value}
		b.reason, err = strconv.Unquote(strings.TrimSpace(reason))
		f.values = append(f.values, b)
	default:
		return fmt.Errorf("unknown attribute @%s", key)
	}
	if err != nil {
		return fmt.Errorf("@%s(%s): %w", key, body, err)
	}
	return nil
}
