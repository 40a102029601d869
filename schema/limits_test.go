package schema_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"

	"headway.dev/headway/schema"
)

// large is a tree in which one file says that it has 100 MB; reading it fails the test.
type large struct {
	fstest.MapFS
	t *testing.T
}

func (l large) Stat(name string) (fs.FileInfo, error) {
	info, err := l.MapFS.Stat(name)
	if name == "large.yaml" {
		return largeInfo{info}, err
	}
	return info, err
}

func (l large) ReadFile(name string) ([]byte, error) {
	if name == "large.yaml" {
		l.t.Error("the large file is read")
	}
	return l.MapFS.ReadFile(name)
}

type largeInfo struct{ fs.FileInfo }

func (largeInfo) Size() int64 { return 100 << 20 }

// TestLimits gives the compiler files that would cost it much. Each is an error that names the file, and the rest
// of the tree goes on.
func TestLimits(t *testing.T) {
	utf16LE := func(s string) string {
		b := []byte{}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
	for _, tc := range []struct{ file, data, want string }{
		{"large.yaml", "x", "large.yaml: cannot be read: it has 104857600 bytes, and a manifest may have 10485760"},
		{"flow.yaml", "{apiVersion: v1, kind: List, items: [" + strings.Repeat("a,", 3<<20) + "]}", "flow.yaml:1: the document may hold more than 500000 values: split it"},
		{"list.yaml", "apiVersion: v1\nkind: List\nitems:\n" + strings.Repeat("- {}\n", 100_000), "list.yaml: has 99000 problems more, which are not shown"},
		{"list.json", `{"apiVersion": "v1", "kind": "List", "items": [` + strings.Repeat("{},", 600_000), "list.json:1:1500036: the file holds more than 500000 values: split it"},
		{"deep.yaml", "apiVersion: " + strings.Repeat("[", 100_000), "deep.yaml:1:1: not YAML: exceeded max depth of 10000"},
		{"nested.yaml", object + "data: " + strings.Repeat("{a: ", 200) + strings.Repeat("}", 200), "nested.yaml:4:407: nested more than 100 deep"},
		{"deep.json", `{"apiVersion": ` + strings.Repeat("[", 1<<20), "deep.json:1:116: nested more than 100 deep"},
		{"merge.yaml", object + "data:\n  <<: " + strings.Repeat("&a {<<: ", 300) + strings.Repeat("}", 300), "merge.yaml:5:799: nested more than 100 deep"},
		{"bomb.yaml", object + bomb(), "aliases add more than 50000 values: write them out"},
		{"bad.yaml", object + "data:\n" + strings.Repeat("  'a': 'b\n", 30_000) + "  - [", "not YAML: "},
		{"utf16.yaml", "\xff\xfe" + utf16LE(object), "utf16.yaml: is text in UTF-16: save it as UTF-8"},
		{"utf16-unmarked.yaml", utf16LE(object), "utf16-unmarked.yaml:1:2: is text in UTF-16: save it as UTF-8"},
		{"latin1.yaml", object + "data: {a: \"caf\xe9\"}\n", "latin1.yaml:4:15: is not text in UTF-8, for it holds the byte 0xe9: save it as UTF-8"},
		{"zero.yaml", object + "data: {a: \"\x00\"}\n", "zero.yaml:4:12: is not text, for it holds a zero byte"},
		{"tab.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: x\n", "tab.yaml:4:1: not YAML: a tab indents \"name: x\": write spaces"},
		{"deploy.yaml.tmpl", "{{ x }}", "deploy.yaml.tmpl: is a template and is not read: headway renders no templates; commit what they render to"},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			tree := large{fstest.MapFS{
				tc.file:     {Data: []byte(tc.data)},
				"good.yaml": {Data: []byte("{apiVersion: v1, kind: Node, metadata: {name: good}}")},
			}, t}
			r, err := newCompiler(t, nil).Compile(t.Context(), tree)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Objects) != 1 {
				t.Errorf("%d objects, want the good one", len(r.Objects))
			}
			all := printResult(&schema.Result{Problems: r.Problems[:min(len(r.Problems), 2000)]})
			if !strings.Contains(all, tc.want) {
				t.Errorf("it says\n%.2000s\nwant %s", all, tc.want)
			}
		})
	}
}

// bomb is YAML whose aliases stand for 10^8 values.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := range 8 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	return b.String()
}

// TestLinks looks that links are told, and never followed: not to a file, a directory, out of the tree or in a circle.
func TestLinks(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	object := []byte("{apiVersion: v1, kind: Node, metadata: {name: a}}")
	for _, name := range []string{filepath.Join(root, "a.yaml"), filepath.Join(root, "sub", "notes.txt"), filepath.Join(outside, "secret.yaml")} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, bytes.ReplaceAll(object, []byte("name: a"), []byte("name: "+strings.TrimSuffix(filepath.Base(name), ".yaml"))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"link.yaml": "a.yaml", "out.yaml": filepath.Join(outside, "secret.yaml"), "up.yml": "../../../../etc/passwd", "dangling.json": "nowhere",
		"circle": ".", "outside": outside, "sub/LICENSE": "notes.txt",
	} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := newCompiler(t, nil).Compile(t.Context(), os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	want := `object Node/a at a.yaml:1:1
warning circle: is a symbolic link, which is not followed: manifests that it leads to are read only where they lie, if that is in the tree
error dangling.json: is a symbolic link, which is not followed: commit the file itself
error link.yaml: is a symbolic link, which is not followed: commit the file itself
error out.yaml: is a symbolic link, which is not followed: commit the file itself
warning outside: is a symbolic link, which is not followed: manifests that it leads to are read only where they lie, if that is in the tree
error up.yml: is a symbolic link, which is not followed: commit the file itself
complete: false
`
	if got := printResult(r); got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}
