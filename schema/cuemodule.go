package schema

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"

	"headway.dev/headway/api"
)

// noModule is the cue.mod/module.cue of a tree that has none, or one that does not name the module.
const (
	noModulePath = "headway.invalid/tree"
	noModule     = "module: \"" + noModulePath + "@v0\"\nlanguage: version: \"v0.9.0\"\n"
)

// A cueModule is the CUE of one module as the loader sees it: held in memory, under a root that is on no disk. Of a
// large module only that is read which some directories need: their files, those of the directories above them, and
// what these import. (The loader can also read an fs.FS, but does not find vendored packages in one.)
type cueModule struct {
	root     string   // in the tree; "." is the tree's own root
	dirs     []string // in the tree, with CUE files
	sources  *cueSources
	path     string // by which the module's packages are imported, without a major version
	overlay  map[string]load.Source
	mount    string                       // absolute
	broken   map[cuePackage][]api.Problem // of files with syntax errors, and of unreadable ones
	readable map[string]bool              // directories with a file that could be read
	bad      map[string][]api.Problem     // of files that could not be read, by directory; those of cue.mod by that
	visited  map[string]bool              // directories whose files were read
	wanted   map[string]bool              // import paths that were met
	carried  map[string]bool              // directories that come with the program, not with the tree
	// conditions are the tags by which files say when they count.
	conditions map[string]bool
	secret     bool // the package at hand may make a Secret: no value may be shown
}

// A cuePackage is the files of a package in one directory.
type cuePackage struct{ dir, name string }

// anyPackage stands for the package of a file that could not be read.
const anyPackage = "*"

// overlayRoot is an absolute path where no machine has anything.
const overlayRoot = "/headway.invalid/tree"

// fill reads what the module's directories need.
func (m *cueModule) fill(s *cueSources) error {
	var err error
	if m.mount, err = filepath.Abs(filepath.FromSlash(overlayRoot)); err != nil {
		return err
	}
	m.sources = s
	m.overlay, m.bad, m.readable = map[string]load.Source{}, map[string][]api.Problem{}, map[string]bool{}
	m.broken = map[cuePackage][]api.Problem{}
	m.visited, m.wanted, m.carried, m.conditions = map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	m.moduleFile()
	for _, dir := range m.dirs {
		m.visit(dir)
	}
	return m.addCarried()
}

// moduleFile reads the cue.mod/module.cue, for the loader and for the module's path. What old ones lack, a path or the
// version of the language, is filled in.
func (m *cueModule) moduleFile() {
	file := m.inMod("module.cue")
	text := []byte(noModule)
	if slices.Contains(m.sources.moduleFiles(m.inMod()), file) {
		data, ok := m.read(file)
		if !ok {
			return
		}
		text = data
	}
	name, language := moduleHead(file, text)
	switch m.path = ast.ParseImportPath(name).Path; {
	case name == "":
		text = []byte(noModule)
		m.path = noModulePath
	case !language:
		text = append(slices.Clip(text), "\nlanguage: version: \"v0.9.0\"\n"...)
	}
	m.overlay[m.onDisk(file)] = load.FromBytes(text)
}

// moduleHead finds a module's path, and whether its file has the version of the language. A file with a syntax error is
// for the loader to complain of.
func moduleHead(file string, text []byte) (name string, language bool) {
	f, err := parser.ParseFile(file, text)
	if err != nil {
		return noModulePath, true
	}
	for _, d := range f.Decls {
		field, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		switch labelOf(field) {
		case "module":
			if lit, ok := field.Value.(*ast.BasicLit); ok {
				name, _ = strconv.Unquote(lit.Value)
			}
		case "language":
			language = true
		}
	}
	return name, language
}

// inMod is a path below the module's cue.mod.
func (m *cueModule) inMod(elements ...string) string {
	return path.Join(append([]string{m.root, "cue.mod"}, elements...)...)
}

// visit reads the files of a directory and of those above it, which CUE unifies, and then of what they import.
func (m *cueModule) visit(dir string) {
	for _, up := range parents(dir, m.root) {
		if m.visited[up] {
			return // and so was what is above
		}
		m.visited[up] = true
		for _, file := range m.sources.filesOf(up) {
			if file != m.inMod("module.cue") {
				m.file(file)
			}
		}
	}
}

// file takes in one file.
func (m *cueModule) file(file string) {
	data, ok := m.read(file)
	if !ok {
		return
	}
	for _, condition := range fileCondition.FindAllSubmatch(data, -1) {
		for _, tag := range tagName.FindAllString(string(condition[1]), -1) {
			m.conditions[tag] = true
		}
	}
	text, imports := m.parsed(file, data)
	m.overlay[m.onDisk(file)] = load.FromBytes(text)
	m.readable[path.Dir(file)] = true
	for _, p := range imports {
		m.want(p)
	}
}

var (
	fileCondition = regexp.MustCompile(`(?m)^@if\((.*)\)`)
	tagName       = regexp.MustCompile(`\w+`)
)

// want reads an imported package: the module's own, or a vendored one.
func (m *cueModule) want(importPath string) {
	if m.wanted[importPath] {
		return
	}
	m.wanted[importPath] = true
	if rest, ok := below(importPath, m.path); ok && m.path != "" {
		if rest == m.path {
			rest = ""
		}
		m.visit(path.Join(m.root, rest))
	}
	for _, kind := range []string{"gen", "pkg", "usr"} {
		m.visit(m.inMod(kind, importPath))
	}
}

// read reads a file; one that cannot be read is a problem of its directory.
func (m *cueModule) read(file string) ([]byte, bool) {
	data, err := m.sources.l.read(file)
	if err == nil && deep(data) {
		err = fmt.Errorf("it is nested more than %d deep", maxCUEDepth)
	}
	if err == nil {
		return data, true
	}
	dir := path.Dir(file)
	if _, ok := below(dir, m.inMod()); ok {
		dir = m.inMod()
	}
	problems := fileProblem(file, "cannot be read: %v", err).problems
	m.bad[dir] = append(m.bad[dir], problems...)
	p := cuePackage{path.Dir(file), anyPackage}
	m.broken[p] = append(m.broken[p], problems...)
	return nil, false
}

// parsed gives a file's text and what it imports, or if it has a syntax error but names its package, an empty file of
// the package: the loader would otherwise give up every package of the directory and of those below it.
func (m *cueModule) parsed(file string, data []byte) (text []byte, imports []string) {
	f, err := parser.ParseFile(m.onDisk(file), data)
	if err == nil {
		return data, importsOf(f)
	}
	if _, vendored := below(file, m.inMod()); vendored {
		return data, nil
	}
	head, headErr := parser.ParseFile(m.onDisk(file), data, parser.PackageClauseOnly)
	if headErr != nil || head.PackageName() == "" {
		return data, nil
	}
	p := cuePackage{path.Dir(file), head.PackageName()}
	m.secret = cueSecret.Match(data)
	m.broken[p] = append(m.broken[p], m.problems(api.Ref{}, nil, inFile(file), err)...)
	return []byte("package " + p.name), nil
}

// importsOf lists what a file imports, without major versions and package names.
func importsOf(f *ast.File) []string {
	var paths []string
	for spec := range f.ImportSpecs() {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, ast.ParseImportPath(name).Path)
		}
	}
	return paths
}

// brokenFiles are the problems of files of an instance, which come from its directory and those above, and of what it
// imports. An instance that has any must not be evaluated: what the file says would be missing from it.
func (m *cueModule) brokenFiles(i *build.Instance) []api.Problem {
	var problems []api.Problem
	for _, up := range parents(m.inTree(i.Dir), m.root) {
		problems = slices.Concat(problems, m.broken[cuePackage{up, i.PkgName}], m.broken[cuePackage{up, anyPackage}])
	}
	for _, imported := range i.Imports {
		problems = append(problems, m.brokenFiles(imported)...)
	}
	return problems
}

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
