package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// all gives every document of the corpus, or of schema's own samples where the corpus is not there, and those always.
func all(t *testing.T) []document {
	t.Helper()
	documents, err := readRepository("../../schema/testdata", "samples")
	if err != nil {
		t.Fatal(err)
	}
	dir := corpusDir()
	names, err := repositories(dir)
	if errors.Is(err, os.ErrNotExist) {
		t.Logf("the corpus of real manifests is not at %s: only the samples are looked at", dir)
		return documents
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		more, err := readRepository(filepath.Join(dir, name), name)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, more...)
	}
	return documents
}

// corpusDir is named by the environment variable CORPUS, as for make corpus.
func corpusDir() string {
	if dir := os.Getenv("CORPUS"); dir != "" {
		return dir
	}
	return filepath.Join("../..", defaultCorpus)
}

func scorerOf(t *testing.T) *scorer {
	t.Helper()
	s, err := newScorer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestNothingIsDropped compares every leaf of each document with what the object holds that was made of it: it is there,
// or a note tells that it has no effect.
func TestNothingIsDropped(t *testing.T) {
	s := scorerOf(t)
	compared := 0
	for _, d := range all(t) {
		if !d.inScope() {
			continue
		}
		r, err := s.compile(t.Context(), fstest.MapFS{d.name(): {Data: d.data}})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Objects) == 0 {
			if len(r.Problems) == 0 {
				t.Errorf("%s: neither an object nor a problem", d)
			}
			continue
		}
		object, err := tree(r.Objects[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		var typed any
		if o, err := strict(s.scheme, d); err == nil {
			if typed, err = tree(o); err != nil {
				t.Fatal(err)
			}
		}
		missing, err := dropped(d, typed, object, r.Problems)
		if err != nil {
			t.Errorf("%s: %v", d, err)
		}
		for _, l := range missing {
			t.Errorf("%s: neither in the object nor told: %s", d, l)
		}
		compared++
	}
	t.Logf("%d documents compared", compared)
}

// TestStrictDecodingAgrees looks that what Kubernetes' types refuse when they are strict is refused here.
func TestStrictDecodingAgrees(t *testing.T) {
	s := scorerOf(t)
	refusals := 0
	for _, d := range all(t) {
		_, theirs := strict(s.scheme, d)
		if !d.inScope() || theirs == nil || errors.Is(theirs, errUnknownType) {
			continue
		}
		refusals++
		if o, _ := s.document(t.Context(), d); o == loads {
			t.Errorf("%s loads, but Kubernetes' types refuse it: %v", d, theirs)
		}
	}
	t.Logf("%d documents refused by Kubernetes' types", refusals)
}

// TestRepositoriesCompile compiles each repository and each directory of one as the path that is synced.
func TestRepositoriesCompile(t *testing.T) {
	dir := corpusDir()
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the corpus of real manifests is not at %s: %v", dir, err)
	}
	result, err := scorerOf(t).corpus(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := result.failure(); err != nil {
		t.Error(err)
	}
	for _, r := range result.Repositories {
		if r.Tree.Objects+r.Tree.Errors+r.Tree.Warnings == 0 {
			t.Errorf("%s: neither objects nor problems", r.Name)
		}
	}
	t.Logf("\n%s", result.text(0))
}

// TestSplit holds the corpus' own reader to the forms of documents.
func TestSplit(t *testing.T) {
	text := strings.Join([]string{
		"# only a comment", "--- # first", "apiVersion: v1\r", "kind: Pod\r", "...", "---", "# nothing", "---",
		"apiVersion: v1", "kind: List", "items: [{apiVersion: v1, kind: Node}, {apiVersion: apps/v1, kind: Deployment}]",
		"---", "apiVersion: v1", "kind: Service", "metadata: {name: {{ x }}}", "---", "a: b",
	}, "\n")
	root := t.TempDir()
	for name, data := range map[string]string{"a.yaml": text, "b.json": `{"apiVersion": "example.com/v1", "kind": "Service"}`, "README.md": "kind: Pod"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	documents, err := readRepository(root, "r")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range documents {
		word := " in"
		if !d.inScope() {
			word = " out"
		}
		got = append(got, d.APIVersion+" "+d.Kind+word)
	}
	want := "v1 Pod in, v1 Node in, apps/v1 Deployment in, v1 Service in, example.com/v1 Service out"
	if strings.Join(got, ", ") != want {
		t.Errorf("found %s\nwant  %s", strings.Join(got, ", "), want)
	}
}

// TestDroppedIsSeen takes fields out of an object, which the comparison must notice.
func TestDroppedIsSeen(t *testing.T) {
	s := scorerOf(t)
	d := document{File: "p.yaml", APIVersion: "v1", Kind: "Pod", data: []byte(
		"{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {volumes: null, containers: [{name: c, image: c, resources: {limits: {cpu: 1000m}}}]}}")}
	typed, err := strict(s.scheme, d)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := tree(typed)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := dropped(d, whole, whole, nil)
	if err != nil || len(missing) > 0 {
		t.Errorf("of the whole object, %v is missing, %v", missing, err)
	}
	part, err := tree(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "q"},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "resources": map[string]any{"limits": map[string]any{"cpu": 1}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	missing, err = dropped(d, whole, part, nil)
	if err != nil || len(missing) != 2 || missing[0].path != "metadata.name" || missing[1].path != "spec.containers[0].image" {
		t.Errorf("missing %v, %v; want metadata.name and spec.containers[0].image", missing, err)
	}
}
