package schema

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"testing/fstest"
)

// counting counts the directories that are evaluated.
type counting struct {
	Evaluator
	dirs *int
}

func (c counting) Evaluate(ctx context.Context, tree fs.FS, job *Job, done func(string, *Evaluation)) error {
	*c.dirs += len(job.Dirs)
	return c.Evaluator.Evaluate(ctx, tree, job, done)
}

// TestEvaluationsOutliveTheProcess compiles trees with one new compiler after another, which share a directory.
func TestEvaluationsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	tree := fstest.MapFS{}
	set := func(name, text string) { tree[name] = &fstest.MapFile{Data: []byte(text)} }
	set("a/a.cue", "package a\nimport \"headway.invalid/tree/b\"\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: b.name}")
	set("b/b.cue", "package b\nname: \"b1\"")
	set("k/kustomization.yaml", "resources: [n.yaml]\nnamePrefix: p-\n")
	set("k/n.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: k}}")
	set("s/s.cue", "package s\nx: {apiVersion: \"v1\", kind: \"Secret\", metadata: name: \"s\", stringData: password: \"hunter2\"}")
	set("bad/bad.cue", "package bad\nx: {apiVersion: \"v1\", kind: \"ConfigMap\", metadata: name: \"x\", data: password: \"hunter2\" & \"x\"}")
	for i, step := range []struct {
		name   string
		change func()
		dirs   int
	}{
		{"at first, all are evaluated", func() {}, 5},
		{"then only the secret's and the bad one", func() {}, 2},
		{"and what imports a changed package, with it", func() { set("b/b.cue", "package b\nname: \"b2\"") }, 4},
		{"and a kustomization whose resource changed", func() { set("k/n.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: l}}") }, 3},
		{"and all, if entries are garbled", func() { garble(t, dir) }, 5},
	} {
		step.change()
		evaluated := 0
		c, err := New(Options{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		remembering, ok := c.evaluator.(*rememberingEvaluator)
		if !ok {
			t.Fatalf("the evaluator is a %T", c.evaluator)
		}
		remembering.next = counting{remembering.next, &evaluated}
		got, err := c.Compile(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		cold, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := cold.Compile(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d: with the cache\n%v\nwithout\n%v", i, got, want)
		}
		if evaluated != step.dirs {
			t.Errorf("%s: %d directories are evaluated, want %d", step.name, evaluated, step.dirs)
		}
	}
	for _, name := range entriesOf(t, dir) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("hunter2")) {
			t.Errorf("%s holds the secret", name)
		}
	}
}

func entriesOf(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// garble spoils each entry in another way.
func garble(t *testing.T, dir string) {
	t.Helper()
	for i, name := range entriesOf(t, dir) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			data[len(data)-1] ^= 1
		case 1:
			data = data[:len(data)/2]
		case 2:
			data = nil
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiskCacheIsBounded(t *testing.T) {
	const limit = 10_000
	dir := t.TempDir()
	d, err := openDiskCache(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for writer := range 2 {
		wg.Go(func() {
			for i := range 100 {
				if err := d.put(fmt.Sprint(writer, i), bytes.Repeat([]byte{byte(i)}, 500)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for _, name := range entriesOf(t, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > limit*3/2 {
		t.Errorf("the cache holds %d bytes, and may hold %d", total, limit)
	}
	if entry, ok := d.get("1 99"); ok && !bytes.Equal(entry, bytes.Repeat([]byte{99}, 500)) {
		t.Errorf("an entry is %v", entry)
	}
}
