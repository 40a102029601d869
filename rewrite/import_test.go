package rewrite

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"headway.dev/headway/schema"
)

func compiler(t *testing.T) *schema.Compiler {
	t.Helper()
	c, err := schema.New(schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const web = `# The front of the shop.
apiVersion: v1
kind: ConfigMap
metadata:
  name: web
  labels: {app: web} # one label
data:
  # as text
  "yes": "no"
  page: |
    <h1>
      Hi
    </h1>
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata:
    name: shop
`

const wantWeb = `package shop

// The front of the shop.
configMap: web: {
	apiVersion: "v1"
	kind:       "ConfigMap"
	metadata: {
		name: "web"
		// one label
		labels: app: "web"
	}
	data: {
		// as text
		yes: "no"
		page: """
			<h1>
			  Hi
			</h1>

			"""
	}
}
namespace: shop: {
	apiVersion: "v1"
	kind:       "Namespace"
	metadata: name: "shop"
}
`

func TestToCUE(t *testing.T) {
	tree := fstest.MapFS{
		"web.yaml":            {Data: []byte(web)},
		"values.yaml":         {Data: []byte("a: 1\n")},
		"broken.yaml":         {Data: []byte("a: [\n")},
		"twice.yaml":          {Data: []byte("apiVersion: v1\nkind: Namespace\nkind: Pod\n")},
		"k/kustomization.yml": {Data: []byte("resources: [a.yaml]\n")},
		"k/a.yaml":            {Data: []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: k}\n")},
		"shop/a_test.yaml":    {Data: []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n")},
	}
	im, err := ToCUE(tree, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(im.Files) != 2 || im.Files[0].To != "web.cue" || im.Files[1].To != "shop/a-test.cue" {
		t.Fatalf("got %+v", im.Files)
	}
	if got := string(im.Files[0].Data); got != wantWeb {
		t.Errorf("got\n%s", got)
	}
	if got := string(im.Files[1].Data); !strings.HasPrefix(got, "package shop_shop\n") {
		t.Errorf("a package below one of its name is part of that: got\n%s", got)
	}
	var left []string
	for _, p := range im.Left {
		left = append(left, p.String())
	}
	want := []string{"broken.yaml:", "twice.yaml:3:1: the key kind is there twice", "values.yaml: holds a document", "k: is a directory that kustomize"}
	for i, w := range want {
		if i >= len(left) || !strings.HasPrefix(left[i], w) {
			t.Fatalf("left %q, want %q", left, want)
		}
	}
	objects, differences, err := im.Compare(t.Context(), compiler(t), tree)
	if err != nil || len(differences) > 0 || objects < 3 {
		t.Errorf("%d objects, differences %q, %v", objects, differences, err)
	}
}

// TestImportsMeanTheSame holds the import of every repository of the corpus, and of the examples, against the original.
func TestImportsMeanTheSame(t *testing.T) {
	roots := []string{"../examples/shop/manifests"}
	corpus, err := filepath.Glob("../../shared/corpus/*")
	if err != nil {
		t.Fatal(err)
	}
	same, all := 0, 0
	for _, root := range append(roots, corpus...) {
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			continue
		}
		im, err := ToCUE(os.DirFS(root), filepath.Base(root))
		if err != nil {
			t.Fatalf("%s: %v", root, err)
		}
		objects, differences, err := im.Compare(t.Context(), compiler(t), os.DirFS(root))
		if err != nil {
			t.Fatalf("%s: %v", root, err)
		}
		all++
		if len(differences) == 0 {
			same++
		} else {
			t.Logf("%s: of %d objects differ %d: %q", root, objects, len(differences), differences[:min(3, len(differences))])
		}
		t.Logf("%s: %d files, %d left", root, len(im.Files), len(im.Left))
		if root == roots[0] && len(differences) > 0 {
			t.Errorf("%s: %q", root, differences)
		}
	}
	t.Logf("%d of %d trees mean the same", same, all)
	// An import that would not is refused; it has to be rare.
	if same*100 < all*95 {
		t.Errorf("only %d of %d trees mean the same as CUE", same, all)
	}
}

func TestOverlay(t *testing.T) {
	base := fstest.MapFS{"a/x.yaml": {Data: []byte("1")}, "a/y.txt": {Data: []byte("2")}}
	im := &Import{Files: []Imported{{From: "a/x.yaml", To: "a/x.cue", Data: []byte("3")}}}
	o := im.overlay(base)
	var names []string
	err := fs.WalkDir(o, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil || strings.Join(names, " ") != "a/x.cue a/y.txt" {
		t.Errorf("got %v, %v", names, err)
	}
	if data, err := fs.ReadFile(o, "a/x.cue"); err != nil || string(data) != "3" {
		t.Errorf("got %s, %v", data, err)
	}
	if _, err := fs.Stat(o, "a/x.yaml"); err == nil {
		t.Error("a/x.yaml is still there")
	}
}
