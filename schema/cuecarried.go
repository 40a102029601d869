package schema

import (
	"io/fs"
	"path/filepath"
	"strings"

	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"

	"headway.dev/headway/schema/k8s"
)

// ownImport is the path by which CUE imports this package's definitions.
const ownImport = "headway.dev/headway/schema"

// addCarried adds what the module's files import of that which comes with the program: its own definitions, and those
// of Kubernetes. A package that the module has itself, vendored or as headway's repository does, is left alone.
func (m *cueModule) addCarried() error {
	var kubernetes []string
	for p := range m.wanted {
		switch {
		case m.vendored(p):
		case p == ownImport && m.path != "headway.dev/headway":
			if err := m.addOwn(); err != nil {
				return err
			}
		case strings.HasPrefix(p, "k8s.io/"), strings.HasPrefix(p, "cue.dev/x/k8s.io/"):
			kubernetes = append(kubernetes, p)
		}
	}
	if len(kubernetes) == 0 {
		return nil
	}
	library, err := k8s.Open()
	if err != nil {
		return err
	}
	for _, p := range kubernetes {
		m.addKubernetes(library, p)
	}
	return nil
}

func (m *cueModule) addOwn() error {
	names, err := fs.Glob(definitions, "*.cue")
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := definitions.ReadFile(name)
		if err != nil {
			return err
		}
		m.carry(ownImport, name, data)
	}
	return nil
}

// addKubernetes adds a package of the library with all that it imports. One that the library lacks is for the loader
// to miss.
func (m *cueModule) addKubernetes(library *k8s.Library, importPath string) {
	if m.carried[m.carriedDir(importPath)] || m.vendored(importPath) {
		return
	}
	for _, f := range library.Packages[importPath] {
		m.carry(importPath, f.Name, f.Data)
		head, err := parser.ParseFile(f.Name, f.Data, parser.ImportsOnly)
		if err != nil {
			continue // the loader says so
		}
		for _, p := range importsOf(head) {
			m.want(p) // the module may have vendored that
			m.addKubernetes(library, p)
		}
	}
}

// carry adds a file of a package that comes with the program.
func (m *cueModule) carry(importPath, name string, data []byte) {
	dir := m.carriedDir(importPath)
	m.carried[dir] = true
	m.overlay[filepath.Join(m.onDisk(dir), name)] = load.FromBytes(data)
}

// carriedDir is where in the tree the loader finds such a package.
func (m *cueModule) carriedDir(importPath string) string { return m.inMod("pkg", importPath) }

// vendored tells whether the module has a package in its cue.mod. Files in cue.mod/usr only add to one.
func (m *cueModule) vendored(importPath string) bool {
	return m.readable[m.inMod("gen", importPath)] || m.readable[m.carriedDir(importPath)]
}
