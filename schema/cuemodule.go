package schema

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"

	"headway.dev/headway/api"
)

const (
	// builtinDir is where the CUE of a tree finds this package's definitions, unless it has vendored them.
	builtinDir = "cue.mod/pkg/headway.dev/headway/schema"
	// noModule is the cue.mod/module.cue of a tree that has none.
	noModule = "module: \"headway.invalid/tree@v0\"\nlanguage: version: \"v0.9.0\"\n"
)

// A cueModule is the CUE of one module as the loader sees it: held in memory whole, under a root that is on no disk.
// (The loader can also read an fs.FS, but does not find vendored packages in one.)
type cueModule struct {
	root     string   // in the tree; "." is the tree's own root
	dirs     []string // in the tree, with CUE files
	overlay  map[string]load.Source
	module   []byte                       // its module.cue; nil if it has none
	mount    string                       // absolute
	broken   map[cuePackage][]api.Problem // of files with syntax errors, and of unreadable ones
	readable map[string]bool              // directories with a file that could be read
	bad      map[string][]api.Problem     // of files that could not be read, by directory; those of cue.mod by that
}

// A cuePackage is the files of a package in one directory.
type cuePackage struct{ dir, name string }

// anyPackage stands for the package of a file that could not be read.
const anyPackage = "*"

// overlayRoot is an absolute path where no machine has anything.
const overlayRoot = "/headway.invalid/tree"

// fill reads the module's files.
func (m *cueModule) fill(s *cueSources) error {
	var err error
	if m.mount, err = filepath.Abs(filepath.FromSlash(overlayRoot)); err != nil {
		return err
	}
	m.overlay, m.bad, m.readable = map[string]load.Source{}, map[string][]api.Problem{}, map[string]bool{}
	m.broken = map[cuePackage][]api.Problem{}
	modDir := path.Join(m.root, "cue.mod")
	for _, file := range slices.Concat(s.l.cue, s.moduleFiles(modDir)) {
		if _, ok := below(file, m.root); !ok {
			continue
		}
		data, err := s.l.read(file)
		if err == nil && deep(data) {
			err = fmt.Errorf("it is nested more than %d deep", maxCUEDepth)
		}
		if err != nil {
			dir := path.Dir(file)
			if _, ok := below(dir, modDir); ok {
				dir = modDir
			}
			problems := fileProblem(file, "cannot be read: %v", err).problems
			m.bad[dir] = append(m.bad[dir], problems...)
			p := cuePackage{path.Dir(file), anyPackage}
			m.broken[p] = append(m.broken[p], problems...)
			continue
		}
		m.overlay[m.onDisk(file)] = load.FromBytes(m.parsed(file, data))
		m.readable[path.Dir(file)] = true
		if file == path.Join(modDir, "module.cue") {
			m.module = data
		}
	}
	if _, ok := m.overlay[m.onDisk(path.Join(modDir, "module.cue"))]; !ok {
		m.overlay[m.onDisk(path.Join(modDir, "module.cue"))] = load.FromString(noModule)
	}
	return m.addBuiltin()
}

// parsed gives a file's text, or if that has a syntax error but names its package, an empty file of the package: the
// loader would otherwise give up every package of the directory and of those below it.
func (m *cueModule) parsed(file string, data []byte) []byte {
	if _, inMod := below(file, path.Join(m.root, "cue.mod")); inMod {
		return data
	}
	_, err := parser.ParseFile(m.onDisk(file), data)
	if err == nil {
		return data
	}
	head, headErr := parser.ParseFile(m.onDisk(file), data, parser.PackageClauseOnly)
	if headErr != nil || head.PackageName() == "" {
		return data
	}
	p := cuePackage{path.Dir(file), head.PackageName()}
	m.broken[p] = append(m.broken[p], m.problems(p.dir, api.Ref{}, nil, err)...)
	return []byte("package " + p.name)
}

// brokenFiles are the problems of files of an instance, which come from its directory and those above, and of what it
// imports. An instance that has any must not be evaluated: what the file says would be missing from it.
func (m *cueModule) brokenFiles(i *build.Instance) []api.Problem {
	var problems []api.Problem
	for up := m.inTree(i.Dir); ; up = path.Dir(up) {
		problems = slices.Concat(problems, m.broken[cuePackage{up, i.PkgName}], m.broken[cuePackage{up, anyPackage}])
		if up == m.root || up == "." || up == "/" {
			break
		}
	}
	for _, imported := range i.Imports {
		problems = append(problems, m.brokenFiles(imported)...)
	}
	return problems
}

// addBuiltin adds this package's definitions, unless the module has vendored them, or has them in its own tree as
// headway's repository does.
func (m *cueModule) addBuiltin() error {
	dir := m.onDisk(path.Join(m.root, builtinDir))
	if m.readable[path.Join(m.root, builtinDir)] || m.readable[path.Join(m.root, "schema")] && m.isOwn() {
		return nil
	}
	names, err := fs.Glob(definitions, "*.cue")
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := definitions.ReadFile(name)
		if err != nil {
			return err
		}
		m.overlay[filepath.Join(dir, name)] = load.FromBytes(data)
	}
	return nil
}

// isOwn tells whether the module is headway's.
func (m *cueModule) isOwn() bool { return bytes.Contains(m.module, []byte(`"headway.dev/headway@`)) }

// below gives the rest of a path below a directory, which may be ".".
func below(file, dir string) (string, bool) {
	if dir == "." || file == dir {
		return file, true
	}
	return strings.CutPrefix(file, dir+"/")
}

// onDisk is where the loader finds a file or directory of the tree, and inTree the way back.
func (m *cueModule) onDisk(file string) string {
	return filepath.Join(m.mount, filepath.FromSlash(file))
}

func (m *cueModule) inTree(file string) string {
	rest, err := filepath.Rel(m.mount, file)
	if err != nil {
		return file
	}
	return filepath.ToSlash(rest)
}

// maxCUEDepth bounds the nesting of CUE, whose parser would otherwise run out of stack.
const maxCUEDepth = 500

// deep tells whether brackets are nested too deep; those in strings count too, but no one writes that many.
func deep(data []byte) bool {
	depth := 0
	for _, b := range data {
		switch b {
		case '(', '[', '{':
			if depth++; depth > maxCUEDepth {
				return true
			}
		case ')', ']', '}':
			depth--
		}
	}
	return false
}
