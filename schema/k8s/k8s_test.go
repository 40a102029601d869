package k8s_test

import (
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"

	"headway.dev/headway/schema/k8s"
)

func open(t *testing.T) *k8s.Library {
	t.Helper()
	l, err := k8s.Open()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestVersion holds the definitions to the k8s.io/api that the project requires.
func TestVersion(t *testing.T) {
	l := open(t)
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "k8s.io/api "+l.Version+"\n") {
		t.Errorf("the definitions are of k8s.io/api %s, but go.mod requires another: run go generate ./schema/k8s", l.Version)
	}
}

// TestComplete parses every file and looks that what it imports is there too, in the same layout.
func TestComplete(t *testing.T) {
	l := open(t)
	for dir, files := range l.Packages {
		for _, f := range files {
			file, err := parser.ParseFile(path.Join(dir, f.Name), f.Data)
			if err != nil {
				t.Fatal(err)
			}
			for spec := range file.ImportSpecs() {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(imported, ".") && len(l.Packages[imported]) == 0 {
					t.Errorf("%s imports %s, which is not there", dir, imported)
				}
				if strings.HasPrefix(dir, "cue.dev/") && strings.HasPrefix(imported, "k8s.io/") {
					t.Errorf("%s leaves its module for %s", dir, imported)
				}
			}
		}
	}
}

// TestKinds looks at the shape of a kind in both layouts.
func TestKinds(t *testing.T) {
	l := open(t)
	for dir, want := range map[string]string{
		"k8s.io/api/apps/v1":           "metav1.#TypeMeta; metadata?; spec; status?",
		"cue.dev/x/k8s.io/api/apps/v1": "apiVersion; kind; metadata?; spec!; status?",
	} {
		if got := fields(t, l, dir, "#Deployment"); got != want {
			t.Errorf("%s.#Deployment has %s, not %s", dir, got, want)
		}
	}
	if got, want := fields(t, l, "cue.dev/x/k8s.io/api/apps/v1", "#DeploymentSpec"), "replicas?; selector!; template!;"; !strings.HasPrefix(got, want) {
		t.Errorf("cue.dev/x/k8s.io/api/apps/v1.#DeploymentSpec has %s, which does not begin with %s", got, want)
	}
	if got, want := fields(t, l, "k8s.io/api/core/v1", "#Probe"), "#ProbeHandler; initialDelaySeconds?;"; !strings.HasPrefix(got, want) {
		t.Errorf("k8s.io/api/core/v1.#Probe has %s, which does not begin with %s", got, want)
	}
}

// fields lists what a definition consists of.
func fields(t *testing.T, l *k8s.Library, dir, definition string) string {
	t.Helper()
	var found []string
	for _, f := range l.Packages[dir] {
		file, err := parser.ParseFile(f.Name, f.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			field, ok := d.(*ast.Field)
			if !ok || name(field.Label) != definition {
				continue
			}
			for _, e := range field.Value.(*ast.StructLit).Elts {
				switch e := e.(type) {
				case *ast.Field:
					found = append(found, name(e.Label)+strings.TrimSuffix(e.Constraint.String(), "ILLEGAL"))
				case *ast.EmbedDecl:
					found = append(found, expression(e.Expr))
				}
			}
		}
	}
	return strings.Join(found, "; ")
}

func name(l ast.Label) string {
	n, _, _ := ast.LabelName(l)
	return n
}

func expression(x ast.Expr) string {
	if s, ok := x.(*ast.SelectorExpr); ok {
		return s.X.(*ast.Ident).Name + "." + name(s.Sel)
	}
	return x.(*ast.Ident).Name
}
