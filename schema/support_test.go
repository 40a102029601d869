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

	"headway.dev/headway/api"
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

// A page writes each definition once: what only one kind uses below that kind, what several share below Types.
type page struct {
	strings.Builder
	uses map[*structRule]int // by how many kinds
	met  map[*structRule]bool
}

func writeSupport(c *Compiler) string {
	p := &page{uses: map[*structRule]int{}, met: map[*structRule]bool{}}
	for _, k := range kinds() {
		for rule := range reach(c.definitions[k.definition()].structArm().fields, map[*structRule]bool{}) {
			p.uses[rule]++
		}
	}
	p.WriteString(`# What headway takes

*Generated from the definitions in ` + "`schema/*.cue`" + `: change those, then run ` + "`go test ./schema -run SupportPage -update`" + `.*

Every kind, and every field of it, is one of three. What is **implemented** does what it does in Kubernetes. What is
**accepted** is taken without effect, and the plan notes it. What is **refused** is an error, since ignoring it would change
what the author meant; a refused field that says nothing (null, false, 0, or empty) is as good as absent. What is refused is
checked all the same, so that a misspelt field is found wherever it is. A field in bold is required.

## Kinds

| kind | apiVersion | | |
|---|---|---|---|
`)
	for _, k := range kinds() {
		d := c.definitions[k.definition()]
		fmt.Fprintf(p, "| %s | %s | %s | %s |\n", anchor(k.kind), k.apiVersion, d.class, cell(d.reason))
	}
	for _, l := range laterKinds() {
		fmt.Fprintf(p, "| %s | %s | refused | %s |\n", l.kind, l.apiVersion, l.reason)
	}
	p.WriteString(`
Other kinds (RBAC, custom resources and their definitions, webhooks) are not run; each kind met is named once, as a warning,
or as an error where the Cluster object has ` + "`unsupported: refuse`" + `.

`)
	p.tally(c)
	p.WriteString(`## Old versions

Objects of these versions are read as if they were written in the new one, with what they left to other defaults written
out and what has moved since in its place; the plan asks to write the new one.

| kind | apiVersion | |
|---|---|---|
`)
	for _, o := range oldVersions() {
		what := "read"
		if o.served {
			what = "read; Kubernetes still serves it"
		}
		fmt.Fprintf(p, "| %s | %s | %s |\n", o.kind, o.apiVersion, cell(what))
	}
	p.WriteString(`
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
		p.definition("##", c.definitions[k.definition()].structArm().fields, func(r *structRule) bool { return p.uses[r] == 1 })
	}
	p.WriteString("\n## Types\n\nThese are parts of several kinds.\n")
	for _, k := range kinds() {
		p.below(c.definitions[k.definition()].structArm().fields, func(*structRule) bool { return true })
	}
	return p.String()
}

// tally counts the fields by what becomes of them.
func (p *page) tally(c *Compiler) {
	var count [3]int
	for rule := range p.uses {
		for _, f := range rule.fields {
			count[f.class]++
		}
	}
	var run int
	for _, k := range kinds() {
		if c.definitions[k.definition()].class == implemented {
			run++
		}
	}
	fmt.Fprintf(p, "Of %d kinds, %d are implemented; of the fields, %d are implemented, %d accepted, %d refused.\n\n",
		len(kinds()), run, count[implemented], count[accepted], count[refused])
}

// reach gathers a struct and all those that it holds.
func reach(rule *structRule, met map[*structRule]bool) map[*structRule]bool {
	if rule == nil || met[rule] {
		return met
	}
	met[rule] = true
	for _, f := range rule.fields {
		for typ := f.typ; typ != nil; typ = elemOf(typ) {
			if a := typ.structArm(); a != nil {
				reach(a.fields, met)
			}
		}
	}
	return met
}

func anchor(name string) string { return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name)) }

// cell is text that a table can hold.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// definition writes a struct's table, and below it those of the structs that it holds and that belong here.
func (p *page) definition(heading string, rule *structRule, here func(*structRule) bool) {
	if rule.name != "" && !p.met[rule] && len(rule.fields) > 0 {
		p.met[rule] = true
		p.table(heading, rule)
	}
	p.below(rule, here)
}

func (p *page) below(rule *structRule, here func(*structRule) bool) {
	for _, f := range rule.fields {
		for typ := f.typ; typ != nil; typ = elemOf(typ) {
			if a := typ.structArm(); a != nil && a.fields != nil && !p.met[a.fields] && here(a.fields) {
				p.definition("###", a.fields, here)
			}
		}
	}
}

func (p *page) table(heading string, rule *structRule) {
	fmt.Fprintf(p, "\n%s %s\n\n", heading, strings.TrimPrefix(rule.name, "#"))
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
	if len(f.typ.arms) > 0 {
		notes = append(notes, p.takes(f))
	}
	for _, b := range f.values {
		notes = append(notes, b.value+" is refused: "+b.reason)
	}
	notes = slices.DeleteFunc(notes, func(n string) bool { return n == "" })
	fmt.Fprintf(p, "| %s | %s | %s |\n", name, f.class, cell(strings.Join(notes, "; ")))
}

func (p *page) takes(f *fieldRule) string {
	text := p.named(f.typ, f.values)
	if e := elemOf(f.typ); e != nil {
		text = "a list, each item " + p.named(e, f.values)
	}
	if f.unique != "" {
		text += " with " + article(f.unique) + " of its own"
	}
	if d := f.typ.deflt; d != nil && *d != "{}" && strings.Trim(*d, `"`) != text {
		text += "; by default " + strings.Trim(*d, `"`)
	}
	return text
}

// named is what a constraint expects, with a link to the struct that it is.
func (p *page) named(c *constraint, refused []valueBlock) string {
	if a := c.structArm(); a != nil && a.fields != nil && len(a.fields.fields) > 0 && a.fields.name != "" {
		name := strings.TrimPrefix(a.fields.name, "#")
		return strings.Replace(c.expects(refused), name, anchor(name), 1)
	}
	return c.expects(refused)
}

func article(word string) string {
	if strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
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
	case reflect.TypeFor[resource.Quantity](), reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.Duration](),
		reflect.TypeFor[intstr.IntOrString](), reflect.TypeFor[api.Percent]():
		return // what is text
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
		case len(f.typ.arms) > 0:
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
