package schema

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// TestOwnDefinitionsAreCUE imports this package's definitions as an author does, and evaluates every one of them: what
// the compiler lowers is also right to CUE.
func TestOwnDefinitionsAreCUE(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("package a\n\nimport \"headway.dev/headway/schema\"\n\n")
	for name := range c.definitions {
		b.WriteString("_" + strings.TrimPrefix(name, "#") + ": schema." + name + "\n")
	}
	b.WriteString("n: schema.#Namespace & {metadata: name: \"n\"}\n")
	r, err := c.Compile(t.Context(), fstest.MapFS{"a.cue": {Data: []byte(b.String())}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) > 0 || len(r.Objects) != 1 {
		t.Errorf("objects %v, problems %v", r.Objects, r.Problems)
	}
}

// TestOnlyWhatIsNeededIsRead looks that a directory's evaluation reads its files, those above it, and what they import.
func TestOnlyWhatIsNeededIsRead(t *testing.T) {
	tree := fstest.MapFS{
		"cue.mod/module.cue":                  {Data: []byte("module: \"example.com/m@v0\"\nlanguage: version: \"v0.9.0\"\n")},
		"cue.mod/pkg/example.org/lib/lib.cue": {Data: []byte("package lib\n\nimport \"example.org/more\"\n\nname: more.name\n")},
		"cue.mod/gen/example.org/more/m.cue":  {Data: []byte("package more\n\nname: \"n\"\n")},
		"cue.mod/pkg/example.org/not/not.cue": {Data: []byte("package not\n\n{")},
		"base.cue":                            {Data: []byte("package app\n")},
		"app/app.cue":                         {Data: []byte("package app\n\nimport \"example.com/m/own/lib\"\n\nx: lib.x\n")},
		"own/lib/lib.cue":                     {Data: []byte("package lib\n\nimport \"example.org/lib\"\n\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: lib.name}\n")},
		"other/other.cue":                     {Data: []byte("package other\n")},
	}
	l := &listing{fsys: tree, modules: []string{"."}}
	for name := range tree {
		if !strings.HasPrefix(name, "cue.mod/") {
			l.cue = append(l.cue, name)
		}
	}
	m := &cueModule{root: ".", dirs: []string{"app"}}
	if err := m.fill(newCUESources(l)); err != nil {
		t.Fatal(err)
	}
	for name := range tree {
		_, read := m.overlay[m.onDisk(name)]
		if want := !strings.Contains(name, "not") && !strings.Contains(name, "other"); read != want {
			t.Errorf("%s: read is %v", name, read)
		}
	}
}

// FuzzCUEPackage looks that no pair of files, one importing the other, a definition of Kubernetes and one of headway,
// makes the compiler panic.
func FuzzCUEPackage(f *testing.F) {
	f.Add("#App: {name: string, out: {apiVersion: \"v1\", kind: \"Namespace\", metadata: \"name\": name}}", "a: lib.#App & {name: \"a\"}")
	f.Add("#A: {kind: \"ConfigMap\"} | {kind: \"Secret\"}\n#T: {t: #T}", "x: lib.#A & {kind: \"Pod\"}\ny: lib.#T\nz: core.#Pod & {spec: containers: [{name: 1}]}")
	f.Add("_x: [for y in _x {y}]\nx: x & {a: x}", "p: schema.#Service & {metadata: name: \"p\", spec: ports: [{port: \"x\"}]}")
	f.Add("v: 1 & 2\nw: >5 & <3\nu: {a: b, b: c, c: a}", "l: core.#List & {items: [for i in [1, 2] {i}]}\nm: [string]: m\nn: \"\\(lib.v)\"")
	compile := func(t *testing.T, tree fs.FS) *Result {
		c, err := fuzzCompiler()
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Compile(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f.Fuzz(func(t *testing.T, lib, app string) {
		if tooCostly(lib + app) {
			t.Skip()
		}
		tree := fstest.MapFS{
			"lib/lib.cue": {Data: []byte("package lib\n" + lib)},
			"app/app.cue": {Data: []byte("package app\nimport (\n\"headway.invalid/tree/lib\"\n\"headway.dev/headway/schema\"\ncore \"k8s.io/api/core/v1\"\n)\n_used: [schema.#Namespace, core.#Namespace]\n_lib: lib\n" + app)},
			"good.yaml":   {Data: []byte("{apiVersion: v1, kind: Node, metadata: {name: the-good-one}}")},
		}
		r := compile(t, tree)
		for _, p := range r.Problems {
			if strings.Contains(p.Message, "headway failed on this file") || p.Source.File == "" || p.Message == "" {
				t.Errorf("%q, %q: %s", lib, app, p)
			}
		}
	})
}

// tooCostly tells text whose evaluation may take for ever, which it is the evaluating process's to bound: comprehensions
// and repetitions, as a few of them make a bomb.
func tooCostly(text string) bool {
	return len(text) > 4096 || strings.Count(text, "for ") > 2 || strings.Contains(text, "*") || strings.Count(text, "\\(") > 8 || strings.Count(text, "&")+strings.Count(text, "|") > 24
}
