package schema

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// kustomizations are those of a tree.
type kustomizations struct {
	roots    []string          // directories to build
	files    map[string]string // the kustomization file of each directory
	problems []api.Problem
	notes    []note // of what kustomize advises against
}

// A kustomizeGraph finds out what kustomizations reach.
type kustomizeGraph struct {
	l       *listing
	parse   func(file string) (*kustomization, error)
	plain   map[string]bool // the manifests that are listed
	byDir   map[string]*kustomization
	reached map[string]bool // files and directories that a kustomization names
	bad     []api.Problem
}

// kustomizations finds the kustomizations of a tree, and takes out of the listing the manifests that they answer for. See
// docs/decisions/0011-kustomize-roots.md.
func (c *Compiler) kustomizations(l *listing, generation uint64) *kustomizations {
	files := map[string][]string{} // by directory
	for _, name := range l.data {
		if isKustomization(name) {
			files[path.Dir(name)] = append(files[path.Dir(name)], name)
		}
	}
	if len(files) == 0 {
		return &kustomizations{}
	}
	g := &kustomizeGraph{
		l: l, byDir: map[string]*kustomization{}, reached: map[string]bool{}, plain: map[string]bool{},
		parse: func(file string) (*kustomization, error) { return c.kustomized.parse(l, file, generation) },
	}
	for _, name := range l.data {
		g.plain[name] = true
	}
	for _, dir := range slices.Sorted(maps.Keys(files)) {
		g.read(dir, files[dir])
	}
	for _, dir := range slices.Sorted(maps.Keys(g.byDir)) {
		g.follow(g.byDir[dir])
	}
	k := &kustomizations{problems: g.bad, roots: g.roots(), files: map[string]string{}}
	for _, dir := range k.roots {
		k.files[dir] = g.byDir[dir].file
	}
	k.notes = g.deprecations()
	k.problems = append(k.problems, g.takeOut(len(k.roots) == 1 && k.roots[0] == ".")...)
	return k
}

// roots are the directories to build: that of the whole tree if it has a kustomization, or else those that no other
// kustomization names. Where each names another in a circle, one is taken, so that kustomize tells of it.
func (g *kustomizeGraph) roots() []string {
	if _, ok := g.byDir["."]; ok {
		return []string{"."}
	}
	var roots, circles []string
	built := map[string]bool{}
	for _, dir := range slices.Sorted(maps.Keys(g.byDir)) {
		switch {
		case g.byDir[dir].component:
		case g.reached[dir]:
			circles = append(circles, dir)
		default:
			roots = append(roots, dir)
			g.mark(dir, built)
		}
	}
	for _, dir := range circles {
		if !built[dir] && g.namesItself(dir) {
			roots = append(roots, dir)
			g.mark(dir, built)
		}
	}
	return roots
}

// mark notes the kustomizations that one builds on.
func (g *kustomizeGraph) mark(dir string, built map[string]bool) {
	k := g.byDir[dir]
	if k == nil || built[dir] {
		return
	}
	built[dir] = true
	for _, link := range k.links {
		if to, bad := k.resolve(link); bad == "" && link.target != toFile {
			g.mark(to, built)
		}
	}
}

// namesItself tells whether a kustomization comes back to itself.
func (g *kustomizeGraph) namesItself(dir string) bool {
	below := map[string]bool{}
	for _, link := range g.byDir[dir].links {
		if to, bad := g.byDir[dir].resolve(link); bad == "" && link.target != toFile {
			g.mark(to, below)
		}
	}
	return below[dir]
}

// read parses the kustomization of a directory.
func (g *kustomizeGraph) read(dir string, files []string) {
	if len(files) > 1 {
		for _, file := range files[1:] {
			g.bad = append(g.bad, fileProblem(file, "%s is in the same directory: keep one of them", path.Base(files[0])).problems...)
		}
	}
	k, err := g.parse(files[0])
	if err != nil {
		// What it says is not known, but that it governs its directory is.
		k = &kustomization{file: files[0]}
	}
	if k != nil {
		g.byDir[dir] = k
	}
}

// follow marks what a kustomization names, also through bases in directories that are not listed.
func (g *kustomizeGraph) follow(k *kustomization) {
	for _, link := range k.links {
		to, bad := k.resolve(link)
		if bad != "" || g.reached[to] {
			continue
		}
		g.reached[to] = true
		if link.target == toFile || g.byDir[to] != nil || g.plain[to] {
			continue
		}
		for _, name := range kustomizationNames() {
			if inner, err := g.parse(path.Join(to, name)); err == nil {
				if inner != nil {
					g.follow(inner)
				}
				break
			}
		}
	}
}

// takeOut removes from the listing all that is not plain, and warns of what is then used by nothing.
func (g *kustomizeGraph) takeOut(whole bool) (unused []api.Problem) {
	left := map[string][]string{} // by the kustomization that governs them
	g.l.data = slices.DeleteFunc(slices.Clone(g.l.data), func(name string) bool {
		dir := path.Dir(name)
		if g.byDir[dir] != nil && isKustomization(name) || g.reached[name] {
			return true
		}
		for _, up := range parents(dir, ".") {
			if k := g.byDir[up]; k != nil {
				left[k.file] = append(left[k.file], name)
				return true
			}
		}
		return false
	})
	for _, file := range slices.Sorted(maps.Keys(left)) {
		unused = append(unused, unusedFiles(file, left[file]))
	}
	if whole {
		var others []string
		for dir, k := range g.byDir {
			if dir != "." && !g.reached[dir] && !k.component {
				others = append(others, k.file)
			}
		}
		if len(others) > 0 {
			slices.Sort(others)
			unused = append(unused, unusedFiles(g.byDir["."].file, others))
		}
	}
	return unused
}

// unusedFiles warns of files that a kustomization leaves out.
func unusedFiles(file string, names []string) api.Problem {
	const shown = 3
	more := ""
	if len(names) > shown {
		names, more = names[:shown], fmt.Sprintf(" and %d more", len(names)-shown)
	}
	p := fileProblem(file, "leaves out %s%s, which is not used: list it under resources, or move it out of the directory", strings.Join(names, ", "), more).problems[0]
	p.Warning = true
	return p
}

// deprecations notes what kustomize advises against, in any kustomization.
func (g *kustomizeGraph) deprecations() []note {
	var notes []note
	for _, k := range g.byDir {
		notes = append(notes, k.deprecations()...)
	}
	return notes
}
