package schema

import (
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
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

// expr lowers an expression to its alternatives.
func (l *lowering) expr(e ast.Expr) (*constraint, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return l.expr(e.X)
	case *ast.BottomLit:
		return &constraint{}, nil
	case *ast.Ident:
		return l.ident(e.Name)
	case *ast.BasicLit:
		return basicLit(e)
	case *ast.UnaryExpr:
		return l.unary(e)
	case *ast.BinaryExpr:
		return l.binary(e)
	case *ast.CallExpr:
		return call(e)
	case *ast.ListLit:
		return l.list(e)
	case *ast.StructLit:
		if len(e.Elts) == 1 {
			if _, ok := e.Elts[0].(*ast.Ellipsis); ok {
				return single(arm{kinds: structKind}), nil
			}
		}
		rule := &structRule{byName: map[string]*fieldRule{}}
		return single(arm{kinds: structKind, fields: rule}), l.structLit(rule, e)
	}
	return nil, fmt.Errorf("a %T", e)
}

func single(a arm) *constraint { return &constraint{arms: []*arm{&a}} }

func (l *lowering) ident(name string) (*constraint, error) {
	switch name {
	case "_":
		return single(arm{kinds: anyKind}), nil
	case "string":
		return single(arm{kinds: stringKind}), nil
	case "bool":
		return single(arm{kinds: boolKind}), nil
	case "int":
		return single(arm{kinds: intKind}), nil
	case "number":
		return single(arm{kinds: intKind | floatKind}), nil
	}
	return l.definition(name)
}

func basicLit(e *ast.BasicLit) (*constraint, error) {
	switch e.Kind {
	case token.STRING:
		text, err := literal.Unquote(e.Value)
		return single(arm{kinds: stringKind, literal: &text}), err
	case token.INT:
		return single(arm{kinds: intKind, literal: &e.Value}), nil
	case token.TRUE, token.FALSE:
		return single(arm{kinds: boolKind, literal: &e.Value}), nil
	}
	return nil, fmt.Errorf("a literal %s", e.Value)
}

// json is the literal as JSON.
func (a *arm) json() string {
	if a.kinds == stringKind {
		return strconv.Quote(*a.literal)
	}
	return *a.literal
}

func (l *lowering) unary(e *ast.UnaryExpr) (*constraint, error) {
	switch e.Op {
	case token.MUL:
		c, err := l.expr(e.X)
		if err != nil {
			return nil, err
		}
		if len(c.arms) != 1 || c.arms[0].literal == nil {
			return nil, fmt.Errorf("a default that is not a literal")
		}
		text := c.arms[0].json()
		return &constraint{arms: c.arms, deflt: &text}, nil
	case token.MAT, token.NMAT:
		text, err := stringLit(e.X)
		if err != nil {
			return nil, err
		}
		re, err := regexp.Compile(text)
		return single(arm{kinds: stringKind, patterns: []pattern{{re, e.Op == token.MAT}}}), err
	case token.GEQ, token.LEQ:
		n, err := intLit(e.X)
		if e.Op == token.GEQ {
			return single(arm{kinds: intKind | floatKind, min: &n}), err
		}
		return single(arm{kinds: intKind | floatKind, max: &n}), err
	}
	return nil, fmt.Errorf("the operator %s", e.Op)
}

func stringLit(e ast.Expr) (string, error) {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		return literal.Unquote(lit.Value)
	}
	return "", fmt.Errorf("a %T where a string belongs", e)
}

func intLit(e ast.Expr) (int64, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.ParseInt(e.Value, 10, 64)
	case *ast.UnaryExpr:
		if lit, ok := e.X.(*ast.BasicLit); ok && e.Op == token.SUB {
			return strconv.ParseInt("-"+lit.Value, 10, 64)
		}
	}
	return 0, fmt.Errorf("a %T where a number belongs", e)
}

func (l *lowering) binary(e *ast.BinaryExpr) (*constraint, error) {
	x, err := l.expr(e.X)
	if err != nil {
		return nil, err
	}
	y, err := l.expr(e.Y)
	if err != nil {
		return nil, err
	}
	switch e.Op {
	case token.OR:
		if x.structArm() != nil && y.structArm() != nil {
			return nil, fmt.Errorf("a choice between structs: use matchN over their fields")
		}
		out := &constraint{arms: slices.Concat(x.arms, y.arms), deflt: x.deflt}
		if out.deflt == nil {
			out.deflt = y.deflt
		}
		out.doc = orDoc(x, y)
		return out, nil
	case token.AND:
		out := &constraint{}
		for _, a := range x.arms {
			for _, b := range y.arms {
				m, err := meet(a, b)
				if err != nil {
					return nil, err
				}
				if m.kinds != 0 {
					out.arms = append(out.arms, m)
				}
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("the operator %s", e.Op)
}

// orDoc keeps what a definition says of itself when it only gets a default, or a value that stands for none, beside it.
func orDoc(x, y *constraint) string {
	beside := func(c *constraint) bool {
		return c.doc == "" && len(c.arms) == 1 && c.arms[0].literal != nil && (*c.arms[0].literal == "" || *c.arms[0].literal == "0" || c.deflt != nil)
	}
	switch {
	case beside(y):
		return x.doc
	case beside(x):
		return y.doc
	}
	return ""
}

// meet is the conjunction of two arms; one without kinds is what nothing satisfies.
func meet(a, b *arm) (*arm, error) {
	m := *a
	m.kinds &= b.kinds
	m.patterns = slices.Concat(a.patterns, b.patterns)
	m.maxRunes = tighter(a.maxRunes, b.maxRunes)
	m.minItems = max(a.minItems, b.minItems)
	m.maxItems = tighter(a.maxItems, b.maxItems)
	if b.min != nil && (m.min == nil || *b.min > *m.min) {
		m.min = b.min
	}
	if b.max != nil && (m.max == nil || *b.max < *m.max) {
		m.max = b.max
	}
	if a.literal != nil || b.literal != nil {
		return nil, fmt.Errorf("a conjunction with a literal")
	}
	if a.fields != nil || b.fields != nil {
		return nil, fmt.Errorf("a conjunction of structs")
	}
	if m.elem == nil {
		m.elem = b.elem
	}
	return &m, nil
}

// tighter is the lower of two limits; 0 is none.
func tighter(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// call lowers the validators of CUE's standard library that the definitions use.
func call(e *ast.CallExpr) (*constraint, error) {
	sel, ok := e.Fun.(*ast.SelectorExpr)
	if !ok || len(e.Args) != 1 {
		return nil, fmt.Errorf("a call of a %T", e.Fun)
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok {
		return nil, fmt.Errorf("a call of a %T", sel.X)
	}
	n, err := intLit(e.Args[0])
	if err != nil || n < 0 || n > math.MaxInt32 {
		return nil, fmt.Errorf("a call with an odd argument: %w", err)
	}
	name, _, err := ast.LabelName(sel.Sel)
	if err != nil {
		return nil, err
	}
	switch pkg.Name + "." + name {
	case "strings.MaxRunes":
		return single(arm{kinds: stringKind, maxRunes: int(n)}), nil
	case "list.MinItems":
		return single(arm{kinds: listKind, minItems: int(n)}), nil
	case "list.MaxItems":
		return single(arm{kinds: listKind, maxItems: int(n)}), nil
	}
	return nil, fmt.Errorf("a call of %s.%s", pkg.Name, name)
}

// list lowers [...X].
func (l *lowering) list(e *ast.ListLit) (*constraint, error) {
	if len(e.Elts) == 1 {
		if dots, ok := e.Elts[0].(*ast.Ellipsis); ok && dots.Type != nil {
			elem, err := l.expr(dots.Type)
			return single(arm{kinds: listKind, elem: elem}), err
		}
	}
	return nil, fmt.Errorf("a list other than [...X]")
}
