package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/yaml"
)

// FuzzYAML looks that no text makes the compiler panic, and that a document means what it means to Kubernetes' tools.
func FuzzYAML(f *testing.F) {
	seedScenarios(f, ".yaml")
	for _, s := range []string{
		"a: 0x1f\nb: 014\nc: 1_000\nd: 1e3\ne: yes\nf: ~\ng: .5\nh: 1:30\ni: 2026-01-02\nj: 08\nk: !!str 1\n",
		"x: &a {b: c}\ny:\n  <<: *a\n  d: e\n", "? a\n: b\n", "- 1\n- [2]\n", "# x\rkind: a\n---\nb: c", "a: |\n  x\n  y\nb: >-\n  x\n  y\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		compileOne(t, "x.yaml", data)
		docs, problems := readYAML("x.yaml", data)
		if bytes.Count(data, []byte("---")) > 1 {
			return // an empty document, which they take for the first, is none to us
		}
		// The parser forgets the tag "!", which makes anything a string.
		if len(docs) != 1 || len(problems) > 0 || len(splitYAML(data)) != 1 || bytes.Contains(data, []byte("!")) {
			return
		}
		theirs, err := yaml.YAMLToJSONStrict(data)
		if err != nil {
			return
		}
		var want, got any
		if err := json.Unmarshal(theirs, &want); err != nil {
			t.Fatal(err)
		}
		ours, err := json.Marshal(plain(docs[0]))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ours, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q is\n%s, but to Kubernetes\n%s", data, ours, theirs)
		}
	})
}

// FuzzJSON looks that what is JSON to the standard library is the same to us, and nothing else is.
func FuzzJSON(f *testing.F) {
	seedScenarios(f, ".json")
	f.Add([]byte(`{"a": [1, -2.5e3, true, null, "\ud83d\ude00"], "b": {}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		compileOne(t, "x.json", data)
		var want, got any
		err := json.Unmarshal(data, &want)
		docs, problems := readJSON("x.json", data)
		if err != nil {
			if len(docs) == 1 && len(problems) == 0 {
				t.Errorf("%q is taken, but: %v", data, err)
			}
			return
		}
		if len(docs) != 1 || len(problems) > 0 {
			if !strings.Contains(problems[0].Message, "nested") {
				t.Errorf("%q: %v", data, problems)
			}
			return
		}
		ours, err := json.Marshal(plain(docs[0]))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ours, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %s", data, ours)
		}
	})
}

// FuzzObject looks that no specification of any kind makes the compiler panic or lets through what the kind's type refuses.
func FuzzObject(f *testing.F) {
	for _, sample := range samples(f) {
		text, err := json.Marshal(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		compileOne(t, "x.json", data)
		list := fmt.Appendf(nil, `{"apiVersion": "v1", "kind": "List", "items": [%s, %s]}`, data, data)
		compileOne(t, "list.json", list)
		compileOne(t, "list.yaml", list)
	})
}

// FuzzCUE looks that no text makes the compiler panic.
func FuzzCUE(f *testing.F) {
	seedScenarios(f, ".cue")
	f.Fuzz(func(t *testing.T, data []byte) { compileOne(t, "x.cue", data) })
}

// fuzzCompiler is made once: its tables take longer to make than most inputs to compile.
var fuzzCompiler = sync.OnceValues(func() (*Compiler, error) { return New(Options{}) })

// compileOne compiles a file next to a good one, which must come out of it unharmed.
func compileOne(t *testing.T, name string, data []byte) {
	t.Helper()
	c, err := fuzzCompiler()
	if err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{
		name:        {Data: data},
		"good.yaml": {Data: []byte("{apiVersion: v1, kind: Node, metadata: {name: the-good-one}}")},
	}
	r, err := c.Compile(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	good := strings.Contains(string(data), "the-good-one") // it may have declared the same
	for _, o := range r.Objects {
		good = good || o.Ref.Name == "the-good-one"
	}
	if !good {
		t.Errorf("%q took the good object along", data)
	}
	for _, p := range r.Problems {
		if strings.Contains(p.Message, "headway failed on this file") || strings.Contains(p.Message, "does not fit its type") {
			t.Errorf("%q: %s", data, p)
		}
	}
}

// seedScenarios adds the files of the scenarios.
func seedScenarios(f *testing.F, ext string) {
	names, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "\nfile ")[1:] {
			head, body, _ := strings.Cut(part, "\n")
			content, _, _ := strings.Cut(body, "\n----")
			if filepath.Ext(head) == ext {
				f.Add([]byte(content))
			}
		}
	}
}
