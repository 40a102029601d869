// Package headway_test holds the structure of the repository: which package may import which, and that each says in a
// comment what it is for.
package headway_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "headway.dev/headway/"

// A rule bounds the imports of a package and the packages below it. The longest matching path applies.
type rule struct {
	path    string
	headway []string // packages of this module that it may import
	never   []string // import paths that it must not; one that ends in a slash stands for all below it
}

// effects are what pure packages keep away from.
var effects = []string{"context", "os", "net", "net/http", "log", "log/slog", "math/rand", "math/rand/v2", "os/exec", "io/fs", "sync", "syscall", "crypto/rand"}

var rules = []rule{
	{path: "api", never: []string{"cuelang.org/", "github.com/nats-io/"}},
	{path: "sync", headway: []string{"api", "sync"}, never: []string{"cuelang.org/", "github.com/nats-io/"}},
	{path: "schema", headway: []string{"api", "schema", "seal"}, never: []string{"github.com/nats-io/", "net/http", "os/exec", "github.com/go-git/"}},
	{path: "rewrite", headway: []string{"api", "schema"}, never: []string{"github.com/nats-io/", "net/http", "os/exec", "github.com/go-git/"}},
	{path: "evaluator", headway: []string{"api", "schema"}, never: []string{"github.com/nats-io/", "net/", "net/http", "github.com/go-git/"}},
	{path: "planner", headway: []string{"api"}, never: effects},
	{path: "isolation", headway: []string{"api"}, never: effects},
	{path: "scheduler", headway: []string{"api"}, never: effects},
	{path: "tenure", headway: []string{"api"}, never: effects},
	{path: "seal", headway: []string{"api"}, never: []string{"github.com/nats-io/", "cuelang.org/"}},
	{path: "bus", headway: []string{"api", "bus"}},
	{path: "controller", headway: []string{"api", "sync", "schema", "planner", "scheduler", "isolation", "tenure"}, never: []string{"github.com/containerd/", "github.com/coreos/"}},
	{path: "node", headway: []string{"api", "tenure"}, never: []string{"github.com/containerd/", "github.com/vishvananda/", "github.com/coreos/", "github.com/nats-io/", "net/http"}},
	{path: "node/conformance", headway: []string{"api", "node"}},
	{path: "node/fakehost", headway: []string{"api", "node"}},
	{path: "node/containerd", headway: []string{"api", "node", "internal/thread"}, never: []string{"github.com/nats-io/"}},
	{path: "node/network", headway: []string{"api", "node", "internal/thread"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
	{path: "node/cdi", headway: []string{"api", "node"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
	{path: "node/iptables", headway: []string{"api", "node"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
	{path: "node/volume", headway: []string{"api", "node"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
	{path: "node/probe", headway: []string{"api", "node"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
	{path: "node/health", headway: []string{"api", "node"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
	{path: "node/ingress", headway: []string{"api", "node"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
	{path: "node/witness", headway: []string{"api", "node"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
	{path: "node/dns", headway: []string{"api", "node"}, never: []string{"github.com/nats-io/", "github.com/containerd/"}},
}

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func within(path, parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }

func ruleFor(path string) (rule, bool) {
	var best rule
	found := false
	for _, r := range rules {
		if within(path, r.path) && (!found || len(r.path) > len(best.path)) {
			best, found = r, true
		}
	}
	return best, found
}

// TestImports holds the import table of docs/architecture.md.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		r, ok := ruleFor(name)
		if !ok {
			continue
		}
		for _, imported := range p.Imports {
			own, isOwn := strings.CutPrefix(imported, module)
			if isOwn && !slices.ContainsFunc(r.headway, func(a string) bool { return within(own, a) }) {
				t.Errorf("%s imports %s: it may import of headway only %v", name, own, r.headway)
			}
			for _, never := range r.never {
				if imported == never || strings.HasSuffix(never, "/") && strings.HasPrefix(imported, never) {
					t.Errorf("%s imports %s, which it must not", name, imported)
				}
			}
		}
	}
}

// TestAdaptersAreApart keeps the node's adapters from importing one another.
func TestAdaptersAreApart(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if !strings.HasPrefix(name, "node/") {
			continue
		}
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, module+"node/"); ok && !within(name, "node/"+strings.Split(own, "/")[0]) {
				t.Errorf("%s imports node/%s", name, own)
			}
		}
	}
}

// TestPackageDocs asks of every package the sentence that describes it.
func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
