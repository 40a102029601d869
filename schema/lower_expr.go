package schema

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
)

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
		out := &constraint{arms: slices.Concat(x.described(), y.described()), deflt: x.deflt}
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

// described are the arms with what their definition's comment says.
func (c *constraint) described() []*arm {
	if c.doc == "" {
		return c.arms
	}
	arms := make([]*arm, len(c.arms))
	for i, a := range c.arms {
		copied := *a
		copied.doc = c.doc
		arms[i] = &copied
	}
	return arms
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
