package schema_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cockroachdb/datadriven"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/schema"
)

func newCompiler(t testing.TB, tags map[string]string) *schema.Compiler {
	t.Helper()
	c, err := schema.New(schema.Options{Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestScenarios runs testdata/*.txt. A scenario builds a tree by file commands and compiles it:
//
//	file PATH      the content follows; an empty one removes the file
//	compile [tag=NAME:VALUE]   prints objects and problems
//	show REF       prints an object of the last compile as YAML
//
// go test ./schema -run Scenarios -rewrite writes the expected output anew.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, name string) {
		tree := fstest.MapFS{}
		var last *schema.Result
		datadriven.RunTest(t, name, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				file := d.CmdArgs[0].Key
				if d.Input == "" {
					delete(tree, file)
				} else {
					tree[file] = &fstest.MapFile{Data: []byte(unescape(d.Input) + "\n")}
				}
				return ""
			case "clear":
				clear(tree)
				return ""
			case "compile":
				tags := map[string]string{}
				for _, a := range d.CmdArgs {
					k, v, _ := strings.Cut(a.Vals[0], ":")
					tags[k] = v
				}
				var err error
				if last, err = newCompiler(t, tags).Compile(t.Context(), tree); err != nil {
					return "error: " + err.Error()
				}
				return printResult(last)
			case "show":
				for _, o := range last.Objects {
					if o.Ref.String() == d.CmdArgs[0].Key {
						data, err := yaml.Marshal(o.Value)
						if err != nil {
							t.Fatal(err)
						}
						return string(data)
					}
				}
				return "no such object"
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

// unescape lets a scenario write what a text file cannot hold well: a carriage return, a tab, a byte that is no UTF-8,
// and blank lines, which would end the input.
func unescape(s string) string {
	return strings.NewReplacer(`<CR>`, "\r", `<TAB>`, "\t", `<FF>`, "\xff", `<BLANK>`, "").Replace(s)
}

func printResult(r *schema.Result) string {
	var b bytes.Buffer
	for _, o := range r.Objects {
		fmt.Fprintf(&b, "object %s at %s\n", o.Ref, o.Source)
	}
	for _, p := range r.Problems {
		word := "error"
		if p.Warning {
			word = "warning"
		}
		fmt.Fprintf(&b, "%s %s\n", word, p)
	}
	fmt.Fprintf(&b, "complete: %v\n", r.Complete)
	return b.String()
}

func TestShopExampleIsValid(t *testing.T) {
	tree := subtree(t, "../examples/shop/manifests")
	r, err := newCompiler(t, nil).Compile(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) > 0 || !r.Complete {
		t.Errorf("the example has problems:\n%s", printResult(r))
	}
}

// subtree reads a directory into memory.
func subtree(t testing.TB, dir string) fs.FS {
	t.Helper()
	tree := fstest.MapFS{}
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		tree[path.Clean(name)] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
