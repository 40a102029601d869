package schema

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/json"

	"headway.dev/headway/api"
)

// A fileResult is what one file, or one CUE package, holds. It is never changed once made.
type fileResult struct {
	objects  []*declared
	problems []api.Problem
	notes    []note
}

// declared is an object as its source has it.
type declared struct {
	ref    api.Ref
	source api.Position
	value  runtime.Object // nil if it is not sound
	// fingerprint is of a Secret's content; empty for other kinds.
	fingerprint api.Digest
	// faulty is an object in quarantine, for an error of its own or of what it names; refused, one with a field, or of a
	// kind, that is not run yet, and effectless one of a kind that is taken without effect. Others may still look at its
	// value.
	faulty, refused, effectless bool
	// unscaled is a workload that leaves its replicas open.
	unscaled bool
	uses     []use
}

// stands reports that the object is one of the result.
func (d *declared) stands() bool { return d.value != nil && !d.faulty && !d.refused && !d.effectless }

// right reports that nothing is wrong with the object itself, be its kind run here or not.
func (d *declared) right() bool { return d.value != nil && !d.faulty }

// compileData reads a YAML or JSON file, which is text in UTF-8.
func (c *Compiler) compileData(file string, data []byte) *fileResult {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	// Most other files, such as the values of a chart, are known without parsing, and need not even be YAML.
	if !bytes.Contains(data, []byte("apiVersion")) && !bytes.Contains(data, []byte("kind")) {
		return noObject(file, data)
	}
	read := readYAML
	if path.Ext(file) == ".json" {
		read = readJSON
	}
	docs, problems := read(file, data)
	r := &fileResult{problems: problems}
	found := len(problems) > 0
	for _, doc := range docs {
		found = c.document(r, doc) || found
	}
	if !found {
		return noObject(file, data)
	}
	return r
}

// noObject warns of a file without objects, unless there is nothing in it.
func noObject(file string, data []byte) *fileResult {
	if path.Ext(file) != ".json" && len(splitYAML(data)) == 0 {
		return &fileResult{}
	}
	r := fileProblem(file, "holds no object: nothing in it has an apiVersion and a kind")
	r.problems[0].Warning = true
	return r
}

// document takes in one document, or the items of a List. It reports whether there was any object, right or wrong.
func (c *Compiler) document(r *fileResult, doc *value) bool {
	if doc.kind == listKind {
		return c.list(r, doc)
	}
	if doc.kind != structKind {
		return false
	}
	hasVersion, hasKind := doc.get("apiVersion") != nil, doc.get("kind") != nil
	switch {
	case !hasVersion && !hasKind:
		return false
	case !hasVersion || !hasKind || doc.str("apiVersion") == "" || doc.str("kind") == "":
		c.halfTyped(r, doc)
		return true
	}
	items := doc.get("items")
	if kind := doc.str("kind"); items != nil && items.kind == listKind && strings.HasSuffix(kind, "List") {
		c.items(r, doc, items)
		return true
	}
	c.object(r, doc)
	return true
}

func (c *Compiler) halfTyped(r *fileResult, doc *value) {
	field := "apiVersion"
	if doc.str("apiVersion") != "" {
		field = "kind"
	}
	message := "is required: a string, such as v1 or apps/v1"
	if field == "kind" {
		message = "is required: a string, such as Deployment"
	}
	pos := doc.pos
	if v := doc.get(field); v != nil {
		pos = v.pos
	}
	p := api.Problem{Source: pos, Field: field, Message: message}
	if doc.str("kind") != "" {
		p.Ref = c.refOf(doc)
	}
	r.problems = append(r.problems, p)
}

// items takes in a List. The items of a typed one, such as a ConfigMapList, need not say what they are.
func (c *Compiler) items(r *fileResult, list, items *value) {
	kind := strings.TrimSuffix(list.str("kind"), "List")
	for _, item := range items.items {
		if kind != "" && item.kind == structKind {
			for _, f := range []struct{ name, text string }{{"apiVersion", list.str("apiVersion")}, {"kind", kind}} {
				if item.get(f.name) == nil {
					item.fields = append(item.fields, field{f.name, item.pos, &value{kind: stringKind, pos: item.pos, text: f.text}})
				}
			}
		}
		if !c.document(r, item) {
			r.problems = append(r.problems, api.Problem{Source: item.pos, Message: "is an item of a list of objects, but no object: it has neither apiVersion nor kind"})
		}
	}
}

// list takes in a list of objects, as if it were the items of a List. A list without any is something else, such as a patch.
func (c *Compiler) list(r *fileResult, doc *value) bool {
	isObject := func(v *value) bool { return v.get("apiVersion") != nil || v.get("kind") != nil }
	if !slices.ContainsFunc(doc.items, isObject) {
		return false
	}
	c.items(r, doc, doc)
	return true
}

// object compiles one object.
func (c *Compiler) object(r *fileResult, doc *value) {
	apiVersion, kind := doc.str("apiVersion"), doc.str("kind")
	c.generatedName(r, doc)
	d := &declared{ref: c.refOf(doc), source: doc.pos}
	v := c.judge(apiVersion, kind)
	if v.entry == nil {
		p := api.Problem{Source: doc.pos, Ref: d.ref, Field: v.field, Message: v.problem, Warning: v.warning}
		if at := doc.get(v.field); at != nil {
			p.Source = at.pos
		}
		if v.warning {
			r.notes = append(r.notes, note{key: apiVersion + "/" + kind, problem: p, foreign: true})
			return
		}
		r.problems = append(r.problems, p)
		r.objects = append(r.objects, d)
		return
	}
	if v.old != nil {
		c.upgrade(r, d, doc, v)
	}
	r.objects = append(r.objects, d)
	definition := c.definitions[v.entry.definition()]
	ck := checker{ref: d.ref, out: make([]byte, 0, 2048)}
	c.classify(r, d, doc, definition)
	if definition.class != implemented {
		ck.refusing++
	}
	ck.structValue(definition.structArm().fields, doc)
	r.problems = append(r.problems, ck.problems...)
	r.notes = append(r.notes, ck.notes...)
	d.refused = d.refused || len(ck.problems) > 0
	if ck.unsound {
		return
	}
	object := v.entry.empty()
	if err := decode(ck.out, object); err != nil {
		r.problems = append(r.problems, api.Problem{Source: doc.pos, Ref: d.ref, Message: err.Error()})
		return
	}
	in := inspection{tree: doc, ref: d.ref}
	v.entry.finish(&in, object)
	in.annotations(object)
	r.problems = append(r.problems, in.problems...)
	r.notes = append(r.notes, in.notes...)
	d.faulty = slices.ContainsFunc(in.problems, func(p api.Problem) bool { return !p.Warning })
	d.uses = in.uses
	if in.effectless != "" {
		d.effectless = true
		r.notes = append(r.notes, note{foreign: true, key: d.ref.Kind + " " + in.effectless, problem: api.Problem{
			Source: doc.pos, Ref: d.ref, Message: "has no effect: " + in.effectless, Warning: true,
		}})
	}
	d.value = named(object, d.ref)
	if secret, ok := object.(*corev1.Secret); ok && d.right() {
		d.fingerprint = c.fingerprints.of(d.ref, secret)
	}
	if at := doc.get("spec").get("replicas"); at == nil || at.kind == nullKind {
		d.unscaled = true
	}
}

// upgrade reads an object of an old version as one of the newest, and says so.
func (c *Compiler) upgrade(r *fileResult, d *declared, doc *value, v verdict) {
	at := doc.get("apiVersion")
	if !v.old.served {
		r.notes = append(r.notes, note{key: at.text + "/" + v.entry.kind, problem: api.Problem{
			Source: at.pos, Ref: d.ref, Field: "apiVersion", Warning: true,
			Message: shorten(at.text) + " is old: write " + v.entry.apiVersion,
		}})
	}
	v.old.upgrade(doc, v.entry.apiVersion)
}

// classify says what becomes of an object whose kind is not run.
func (c *Compiler) classify(r *fileResult, d *declared, doc *value, definition *constraint) {
	kind := d.ref.Kind
	switch definition.class {
	case refused:
		d.refused = true
		r.problems = append(r.problems, api.Problem{
			Source: doc.get("kind").pos, Ref: d.ref, Field: "kind", Message: kind + " is not run yet: " + definition.reason,
		})
	case accepted:
		d.effectless = true
		r.notes = append(r.notes, note{key: kind, problem: api.Problem{
			Source: doc.pos, Ref: d.ref, Message: "has no effect: " + definition.reason, Warning: true,
		}})
	}
}

// decode is strict: what the definitions let through, the types must know.
func decode(data []byte, object runtime.Object) error {
	strict, err := json.UnmarshalStrict(data, object)
	if err != nil {
		return fmt.Errorf("does not fit its type: %w", err)
	}
	for _, err := range strict {
		return fmt.Errorf("does not fit its type: %w", err)
	}
	return nil
}
