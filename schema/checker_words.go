package schema

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	// placeholder matches what template tools replace before a manifest is applied.
	placeholder = regexp.MustCompile(`\$\{[^}]*\}|\{\{.*?\}\}|<%.*?%>`)
	// blank matches what people are asked to fill in; it is looked for only in values that are wrong anyway.
	blank = regexp.MustCompile(placeholder.String() + `|<[^<>]+>|\$[A-Za-z_][A-Za-z0-9_]*|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+`)
)

const noTemplates = "headway renders no templates; commit what they render to"

// mismatch explains a value that no arm takes.
func (c *checker) mismatch(f *fieldRule, typ *constraint, v *value) {
	want := typ.kinds()
	if f.secret {
		c.mismatchedSecret(typ, v)
		return
	}
	if v.kind == stringKind {
		if p := blank.FindString(v.text); p != "" {
			c.problem(v.pos, "%s holds the placeholder %s: %s", show(v), p, noTemplates)
			return
		}
	}
	if want&v.kind == 0 {
		message := fmt.Sprintf("%s is %s, but must be %s", show(v), v.kind, typ.wanted())
		if want&stringKind != 0 && v.kind&(boolKind|intKind|floatKind) != 0 {
			message += fmt.Sprintf(`: quote it, as "%s"`, cmp.Or(v.written, v.text))
		}
		c.problem(v.pos, "%s", message)
		return
	}
	for _, a := range typ.arms {
		if a.kinds&listKind != 0 && v.kind == listKind {
			c.problem(v.pos, "has %d items, but must be %s", len(v.items), a.expectation())
			return
		}
	}
	hint := ""
	if v.kind == stringKind {
		if near := nearest(v.text, typ.literals(f.values)); near != "" {
			hint = "; did you mean " + near + "?"
		}
	}
	c.problem(v.pos, "%s is not %s%s", show(v), typ.expects(f.values), hint)
}

// notShown stands for what no message may show.
const notShown = "(not shown)"

// mismatchedSecret explains a value that no arm takes without showing any of it.
func (c *checker) mismatchedSecret(typ *constraint, v *value) {
	switch {
	case v.kind == stringKind && placeholder.MatchString(v.text):
		c.problem(v.pos, "the value (not shown) holds a placeholder: %s", noTemplates)
	case typ.kinds()&v.kind == 0 && v.kind&(boolKind|intKind|floatKind) != 0:
		c.problem(v.pos, "the value (not shown) is %s, but must be %s: quote it", v.kind, typ.wanted())
	default:
		c.problem(v.pos, "the value (not shown) is not %s", typ.expectation())
	}
}

// wanted is the expectation for a value of a wrong kind, which should name the right kinds.
func (c *constraint) wanted() string {
	if c.doc == "" && len(c.arms) == 1 && c.arms[0].literal == nil && c.arms[0].fields == nil {
		return c.kinds().String()
	}
	return c.expectation()
}

// show gives a value as a person wrote it, shortened.
func show(v *value) string {
	switch v.kind {
	case structKind, listKind:
		return "this"
	case nullKind:
		return "an empty value"
	case stringKind:
		return shorten(v.text)
	}
	return cmp.Or(v.written, v.text)
}

const shownRunes = 60

func shorten(s string) string {
	if utf8.RuneCountInString(s) > shownRunes {
		s = string([]rune(s)[:shownRunes]) + "…"
	}
	return strconv.Quote(s)
}

// fieldPath writes a path as spec.containers[0].image; keys that are no plain words are quoted in brackets.
func fieldPath(path []any) string { return formatPath(path, strconv.Itoa) }

// fieldPattern is the path without the indices.
func fieldPattern(path []any) string { return formatPath(path, func(int) string { return "" }) }

func formatPath(path []any, index func(int) string) string {
	var b strings.Builder
	for _, step := range path {
		switch s := step.(type) {
		case int:
			b.WriteString("[" + index(s) + "]")
		case string:
			switch {
			case strings.ContainsAny(s, ".[]/ "):
				b.WriteString("[" + strconv.Quote(s) + "]")
			case b.Len() > 0:
				b.WriteString("." + s)
			default:
				b.WriteString(s)
			}
		}
	}
	return b.String()
}
