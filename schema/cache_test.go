package schema_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"headway.dev/headway/schema"
)

// contents are what files of the property test hold: right, wrong, and depending on each other.
var contents = map[string][]string{
	"a.yaml": {
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {k: v}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, nam: b}}",
		"{apiVersion: v1",
		"# nothing",
	},
	"b.yaml": {
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {k: v}}",
		"{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: c, envFrom: [{configMapRef: {name: a}}]}]}}",
		"{apiVersion: example.com/v1, kind: Foreign, metadata: {name: f}}",
	},
	"c/base.cue": {
		"package c\n_name: string | *\"c\"",
		"package c\n_name: \"a\"",
		"package c\n_name: 1",
		"package c\n_name: {",
		"package c\n_name: string\ny: {apiVersion: \"v1\", kind: \"Node\", metadata: name: _name}",
	},
	"c/d/d.cue": {
		"package c\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: _name}",
		"package c\nimport \"headway.invalid/tree/e\"\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: e.name}",
		"package c\n_name: \"done\"",
		"package other\ny: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: \"other\"}",
	},
	"e/e.cue": {
		"package e\nname: \"e1\"",
		"package e\nname: \"e2\"",
	},
}

// TestCachedEqualsCold edits a tree at random: what a compiler that has seen earlier trees makes of it is what a new one
// makes.
func TestCachedEqualsCold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		warm, err := schema.New(schema.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tree := fstest.MapFS{}
		hashes := rapid.Bool().Draw(t, "hashes")
		for range rapid.IntRange(1, 6).Draw(t, "commits") {
			for range rapid.IntRange(1, 3).Draw(t, "edits") {
				name := rapid.SampledFrom(slices.Sorted(maps.Keys(contents))).Draw(t, "file")
				if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
					delete(tree, name)
					continue
				}
				tree[name] = &fstest.MapFile{Data: []byte(rapid.SampledFrom(contents[name]).Draw(t, "content"))}
			}
			cold, err := schema.New(schema.Options{})
			if err != nil {
				t.Fatal(err)
			}
			want, err := cold.Compile(context.Background(), tree)
			if err != nil {
				t.Fatal(err)
			}
			var fsys fs.FS = tree
			if hashes {
				fsys = gitLike{tree}
			}
			got, err := warm.Compile(context.Background(), fsys)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("cached:\n%s\ncold:\n%s", printResult(got), printResult(want))
			}
		}
	})
}

// gitLike is a tree that knows the keys of its files and directories, as Git does.
type gitLike struct{ fstest.MapFS }

func (g gitLike) Hash(name string) (string, bool) {
	if f, ok := g.MapFS[name]; ok {
		return string(f.Data), true
	}
	hash := ""
	for _, file := range slices.Sorted(maps.Keys(g.MapFS)) {
		if name == "." || strings.HasPrefix(file, name+"/") {
			hash += fmt.Sprintf("%s=%s;", file, g.MapFS[file].Data)
		}
	}
	return hash, hash != ""
}

// listedOnly is a gitLike that counts the directories read.
type listedOnly struct {
	gitLike
	read *[]string
}

func (l listedOnly) ReadDir(name string) ([]fs.DirEntry, error) {
	*l.read = append(*l.read, name)
	return l.MapFS.ReadDir(name)
}

func TestUnchangedDirectoriesAreNotListed(t *testing.T) {
	file := func(name string) *fstest.MapFile {
		return &fstest.MapFile{Data: fmt.Appendf(nil, "{apiVersion: v1, kind: Namespace, metadata: {name: %s}}", name)}
	}
	tree := fstest.MapFS{"a/a.yaml": file("a"), "a/x/w/w.yaml": file("w"), "b/b.yaml": file("b"), "b/z/z.yaml": file("z")}
	c := newCompiler(t, nil)
	for _, step := range []struct {
		change string // the file that gets another content; empty is none
		want   []string
	}{
		{"", []string{".", "a", "a/x", "a/x/w", "b", "b/z"}},
		{"", nil},
		{"", nil},
		{"", nil},
		{"", nil}, // long after the first listing, parts of it are still known
		{"b/b.yaml", []string{".", "b"}},
	} {
		if step.change != "" {
			tree[step.change] = file("changed")
		}
		var read []string
		r, err := c.Compile(t.Context(), listedOnly{gitLike{tree}, &read})
		if err != nil || len(r.Objects) != 4 {
			t.Fatalf("%v, %s", err, printResult(r))
		}
		if !slices.Equal(read, step.want) {
			t.Errorf("after a change of %q, %v is read, want %v", step.change, read, step.want)
		}
	}
}

func TestConcurrentCompiles(t *testing.T) {
	c := newCompiler(t, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		tree := fstest.MapFS{"shared.yaml": {Data: []byte(contents["a.yaml"][0])}}
		tree["own.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "{apiVersion: v1, kind: Namespace, metadata: {name: n%d}}", i)}
		tree["c/c.cue"] = &fstest.MapFile{Data: fmt.Appendf(nil, "package c\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: \"c%d\"}", i)}
		wg.Go(func() {
			for range 5 {
				r, err := c.Compile(t.Context(), tree)
				if err != nil || len(r.Objects) != 3 || !r.Complete {
					t.Errorf("tree %d: %v, %s", i, err, printResult(r))
				}
			}
		})
	}
	wg.Wait()
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := newCompiler(t, nil).Compile(ctx, fstest.MapFS{}); err == nil {
		t.Errorf("a cancelled compile gave %v", r)
	}
}

// hashed is a tree that knows its files' content keys, and counts what is read.
type hashed struct {
	fstest.MapFS
	mu   sync.Mutex
	read []string
}

func (h *hashed) Hash(path string) (string, bool) {
	f, ok := h.MapFS[path]
	if !ok {
		return "", false
	}
	return fmt.Sprintf("%p", f), true
}

func (h *hashed) Open(name string) (fs.File, error) {
	if f, ok := h.MapFS[name]; ok && !f.Mode.IsDir() {
		h.mu.Lock()
		h.read = append(h.read, name)
		h.mu.Unlock()
	}
	return h.MapFS.Open(name)
}

// ReadFile and Stat go through Open, so that it counts them.
func (h *hashed) ReadFile(name string) ([]byte, error) {
	return fs.ReadFile(struct{ fs.FS }{h}, name)
}

func (h *hashed) Stat(name string) (fs.FileInfo, error) { return fs.Stat(h.MapFS, name) }

func TestUnchangedFilesAreNotRead(t *testing.T) {
	tree := &hashed{MapFS: deployments(20)}
	tree.MapFS["c/c.cue"] = &fstest.MapFile{Data: []byte("package c")}
	c := newCompiler(t, nil)
	if _, err := c.Compile(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	tree.read = nil
	tree.MapFS["d/7.yaml"] = &fstest.MapFile{Data: deployment(70)}
	r, err := c.Compile(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tree.read, []string{"d/7.yaml"}) || len(r.Objects) != 20 {
		t.Errorf("%d objects, read %v", len(r.Objects), tree.read)
	}
}

func deployments(n int) fstest.MapFS {
	tree := fstest.MapFS{}
	for i := range n {
		tree[fmt.Sprintf("d/%d.yaml", i)] = &fstest.MapFile{Data: deployment(i)}
	}
	return tree
}

func deployment(i int) []byte {
	return fmt.Appendf(nil, `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-%d
  labels: {app: web-%d}
spec:
  replicas: 3
  selector:
    matchLabels: {app: web-%d}
  template:
    metadata:
      labels: {app: web-%d}
    spec:
      containers:
        - name: web
          image: registry.example/shop/web:1.%d
          args: ["--listen", ":8080"]
          env:
            - name: GREETING
              value: hello
            - name: POD
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
          ports:
            - name: http
              containerPort: 8080
          readinessProbe:
            httpGet: {path: /ready, port: http}
          livenessProbe:
            httpGet: {path: /live, port: http}
            periodSeconds: 20
          resources:
            requests: {cpu: 50m, memory: 32Mi}
            limits: {memory: 128Mi}
          volumeMounts:
            - name: scratch
              mountPath: /scratch
      volumes:
        - name: scratch
          emptyDir: {}
`, i, i, i, i, i)
}

func BenchmarkCold1000Deployments(b *testing.B) {
	tree := deployments(1000)
	b.ReportAllocs()
	for b.Loop() {
		compileAll(b, newCompiler(b, nil), tree, 1000)
	}
}

func BenchmarkOneChangedOf1000(b *testing.B) {
	tree := &hashed{MapFS: deployments(1000)}
	c := newCompiler(b, nil)
	compileAll(b, c, tree, 1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tree.MapFS["d/7.yaml"] = &fstest.MapFile{Data: deployment(1000 + i)}
		tree.read = nil
		compileAll(b, c, tree, 1000)
	}
}

// BenchmarkOneChangedOf50Packages changes one of 50 CUE packages with ten Deployments each.
func BenchmarkOneChangedOf50Packages(b *testing.B) {
	tree := &hashed{MapFS: fstest.MapFS{}}
	set := func(i, version int) {
		tree.MapFS[fmt.Sprintf("p%d/p.cue", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, `package p

for i in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] {
	deployment: "web-\(i)": {
		apiVersion: "apps/v1"
		kind:       "Deployment"
		metadata: name: "web-%d-\(i)"
		spec: {
			selector: matchLabels: app: "web"
			template: metadata: labels: app: "web"
			template: spec: containers: [{name: "web", image: "web:1.%d", ports: [{containerPort: 80}]}]
		}
	}
}
`, i, version)}
	}
	for i := range 50 {
		set(i, 0)
	}
	c := newCompiler(b, nil)
	compileAll(b, c, tree, 500)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		set(7, i)
		compileAll(b, c, tree, 500)
	}
}

func compileAll(b *testing.B, c *schema.Compiler, tree fs.FS, want int) {
	b.Helper()
	r, err := c.Compile(b.Context(), tree)
	if err != nil {
		b.Fatal(err)
	}
	if len(r.Objects) != want || !r.Complete {
		b.Fatalf("%d objects, want %d:\n%v", len(r.Objects), want, r.Problems[:min(3, len(r.Problems))])
	}
}
