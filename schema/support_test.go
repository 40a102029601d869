package schema

import (
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var update = flag.Bool("update", false, "write docs/support.md anew")

const supportPage = "../docs/support.md"

// TestSupportPage holds docs/support.md to the definitions. go test ./schema -run SupportPage -update writes it.
func TestSupportPage(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := writeSupport(c)
	if *update {
		if err := os.MkdirAll("../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(supportPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(supportPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the definitions say: run go test ./schema -run SupportPage -update", supportPage)
	}
}

// A page writes each definition once, in the order in which they are met.
type page struct {
	strings.Builder
	met []*structRule
}

func writeSupport(c *Compiler) string {
	p := &page{}
	p.WriteString(`# What headway takes

*Generated from the definitions in ` + "`schema/*.cue`" + `: change those, then run ` + "`go test ./schema -run SupportPage -update`" + `.*

Every field of every kind is one of three. **Implemented** fields do what they do in Kubernetes. **Accepted** ones are
taken without effect, and the plan notes each. **Refused** ones are errors, since ignoring them would change what the
author meant; one that says nothing (null, false, 0, or empty) is as good as absent. A field in bold is required.

## Kinds

| kind | | |
|---|---|---|
`)
	for _, k := range kinds() {
		fmt.Fprintf(p, "| [%s](#%s) | %s | implemented |\n", k.kind, strings.ToLower(k.kind), k.apiVersion)
	}
	for _, l := range laterKinds() {
		fmt.Fprintf(p, "| %s | %s | refused: %s |\n", l.kind, l.apiVersion, l.reason)
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for k := range effectless() {
			if !yield(k) {
				return
			}
		}
	}) {
		fmt.Fprintf(p, "| %s | v1 | accepted: %s |\n", name, effectless()[name])
	}
	p.WriteString(`
Other API groups (RBAC, custom resources and their definitions, webhooks) are not run; each kind met is named once, as a
warning.

## Which files

Those that end in .yaml, .yml, .json or .cue are read. Left out are directories that start with a dot or an underscore,
cue.mod and testdata, and CUE files that end in _tool.cue or _test.cue; links are not followed. A file in which nothing
has an apiVersion and a kind is named in a warning. A file may have 10 MiB. YAML is read by version 1.1, as Kubernetes
reads it: an unquoted yes is a bool, 0644 is octal. Templates are not rendered: a placeholder is an error that names it.

CUE is evaluated a package at a time, with the files of parent directories that have the same package name. Every concrete
struct with an apiVersion and a kind is an object, wherever it stands, unless it is hidden or a definition. Imports are of
the repository's own module, of what it vendors under cue.mod, and of headway.dev/headway/schema.
`)
	for _, k := range kinds() {
		p.definition(c.definitions[k.definition()].structArm().fields)
	}
	return p.String()
}

func (p *page) definition(rule *structRule) {
	if rule == nil || rule.name == "" || slices.Contains(p.met, rule) {
		return
	}
	p.met = append(p.met, rule)
	fmt.Fprintf(p, "\n## %s\n\n", strings.TrimPrefix(rule.name, "#"))
	if rule.doc != "" {
		fmt.Fprintf(p, "%s\n\n", strings.TrimPrefix(rule.doc, "#"))
	}
	p.WriteString("| field | | |\n|---|---|---|\n")
	for _, f := range rule.fields {
		p.row(f.name, f)
	}
	for i := range rule.keys {
		p.row("other keys", &rule.keys[i].fieldRule)
	}
	for _, one := range rule.oneOf {
		p.WriteString("\nAt most one of " + strings.Join(one.names, ", ") + " may be set")
		if one.atLeast > 0 {
			p.WriteString(", and one must be")
		}
		p.WriteString(".\n")
	}
	for _, f := range rule.fields {
		for typ := f.typ; f.class != refused && typ != nil; typ = elemOf(typ) {
			if a := typ.structArm(); a != nil {
				p.definition(a.fields)
			}
		}
	}
}

// elemOf is what a list holds; nil if it is no list.
func elemOf(c *constraint) *constraint {
	for _, a := range c.arms {
		if a.elem != nil {
			return a.elem
		}
	}
	return nil
}

func (p *page) row(name string, f *fieldRule) {
	if f.required {
		name = "**" + name + "**"
	}
	var notes []string
	if f.class != implemented {
		notes = append(notes, f.reason)
	}
	if f.class != refused {
		notes = append(notes, p.takes(f))
	}
	for _, b := range f.values {
		notes = append(notes, b.value+" is refused: "+b.reason)
	}
	notes = slices.DeleteFunc(notes, func(n string) bool { return n == "" })
	fmt.Fprintf(p, "| %s | %s | %s |\n", name, f.class, strings.ReplaceAll(strings.Join(notes, "; "), "|", `\|`))
}

func (p *page) takes(f *fieldRule) string {
	text := f.typ.expectation()
	if e := elemOf(f.typ); e != nil {
		text = "a list, each item " + e.expectation()
	}
	if f.unique != "" {
		text += " with a " + f.unique + " of its own"
	}
	if d := f.typ.deflt; d != nil && *d != "{}" && strings.Trim(*d, `"`) != text {
		text += "; by default " + strings.Trim(*d, `"`)
	}
	return text
}

// TestEveryFieldIsDecided compares the definitions with the types of k8s.io/api: no field may be missing, none invented,
// and numbers must fit.
func TestEveryFieldIsDecided(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		d := decided{t}
		d.compare(k.kind, reflect.TypeOf(k.empty()).Elem(), c.definitions[k.definition()])
	}
}

type decided struct{ t *testing.T }

func (d *decided) compare(at string, typ reflect.Type, c *constraint) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ {
	case reflect.TypeFor[resource.Quantity](), reflect.TypeFor[metav1.Time](), reflect.TypeFor[intstr.IntOrString]():
		return
	}
	switch typ.Kind() {
	case reflect.Slice:
		if e := elemOf(c); e != nil {
			d.compare(at+"[]", typ.Elem(), e)
		}
	case reflect.Struct:
		if a := c.structArm(); a == nil {
			d.t.Errorf("%s is a struct, but not in the definitions", at)
		} else if a.fields != nil {
			d.fields(at, typ, a.fields)
		}
	case reflect.Int32, reflect.Int64:
		for _, a := range c.arms {
			if a.kinds&floatKind != 0 && a.kinds&intKind == 0 || typ.Kind() == reflect.Int32 && a.literal == nil && (a.max == nil || *a.max > math.MaxInt32) {
				d.t.Errorf("%s may be more than its type can hold", at)
			}
		}
	}
}

func (d *decided) fields(at string, typ reflect.Type, rule *structRule) {
	names := map[string]bool{}
	d.jsonFields(typ, func(name string, field reflect.Type) {
		names[name] = true
		f, ok := rule.byName[name]
		switch {
		case !ok:
			d.t.Errorf("%s.%s is not decided", at, name)
		case f.class != refused:
			d.compare(at+"."+name, field, f.typ)
		}
	})
	for _, f := range rule.fields {
		if !names[f.name] {
			d.t.Errorf("%s.%s is not in %s", at, f.name, typ)
		}
	}
}

func (d *decided) jsonFields(typ reflect.Type, f func(string, reflect.Type)) {
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && field.Anonymous {
			d.jsonFields(field.Type, f)
			continue
		}
		f(name, field.Type)
	}
}

// TestScalarsAreDescribed asks of each scalar definition the words that errors quote.
func TestScalarsAreDescribed(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range c.definitions {
		if d.structArm() == nil && d.doc == "" {
			t.Errorf("%s has no comment that says what it is: %s is …", name, name)
		}
	}
}
