package schema

import (
	"context"
	"path"
	"slices"
	"strconv"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"

	"headway.dev/headway/api"
)

// A packageResult is what a CUE directory holds, with all that it was made from.
type packageResult struct {
	fileResult
	// sources maps each directory that was read to the key of its CUE files.
	sources map[string]string
}

// compileCUE evaluates the packages of every directory. What one evaluation needs of memory lives only as long as this
// call: a CUE context never forgets.
func (c *Compiler) compileCUE(ctx context.Context, l *listing, generation uint64, add func(*fileResult)) error {
	if len(l.cue) == 0 {
		return nil
	}
	sources := newCUESources(l)
	for _, m := range cueModules(l) {
		var dirs []string
		for _, dir := range m.dirs {
			if r, ok := c.cache.dir(dir, sources, generation); ok {
				add(&r.fileResult)
				continue
			}
			dirs = append(dirs, dir)
		}
		if len(dirs) == 0 {
			continue
		}
		bad, err := m.fill(sources)
		if err != nil {
			return err
		}
		for _, r := range bad {
			add(r)
		}
		e := &cueEvaluation{compiler: c, module: m, sources: sources, parents: parentsOf(m.dirs)}
		dirs = slices.DeleteFunc(dirs, func(dir string) bool { return !slices.Contains(m.dirs, dir) })
		e.loadAll(dirs)
		for _, dir := range dirs {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := c.cueDirectory(e, dir)
			c.cache.keepDir(dir, generation, r)
			add(&r.fileResult)
		}
	}
	return nil
}

// cueModules gives each directory with CUE files to the nearest module above it; without one, the tree is the module.
func cueModules(l *listing) []*cueModule {
	byRoot := map[string]*cueModule{}
	var modules []*cueModule
	for _, file := range l.cue {
		dir := path.Dir(file)
		root := dir
		for root != "." && !slices.Contains(l.modules, root) {
			root = path.Dir(root)
		}
		m, ok := byRoot[root]
		if !ok {
			m = &cueModule{root: root}
			byRoot[root] = m
			modules = append(modules, m)
		}
		if !slices.Contains(m.dirs, dir) {
			m.dirs = append(m.dirs, dir)
		}
	}
	return modules
}

// parentsOf tells which directories have others below them.
func parentsOf(dirs []string) map[string]bool {
	parents := map[string]bool{}
	for _, dir := range dirs {
		for up := dir; up != "."; {
			up = path.Dir(up)
			parents[up] = true
		}
	}
	return parents
}

// A cueEvaluation loads and evaluates the directories of one module.
type cueEvaluation struct {
	compiler *Compiler
	module   *cueModule
	sources  *cueSources
	parents  map[string]bool
	loaded   map[string][]*build.Instance
}

// loadAll loads directories together, so that what they share is read once. If one makes the loader panic, each is
// loaded by itself later, and the panic is that one's problem.
func (e *cueEvaluation) loadAll(dirs []string) {
	defer func() {
		if recover() != nil {
			e.loaded = nil
		}
	}()
	e.loaded = e.load(dirs)
}

// cueDirectory evaluates one directory. Whatever happens, it yields a result.
func (c *Compiler) cueDirectory(e *cueEvaluation, dir string) *packageResult {
	r := &packageResult{sources: map[string]string{}}
	out := c.guard(dir, func() *fileResult {
		var out fileResult
		instances, ok := e.loaded[dir]
		if !ok {
			instances = e.load([]string{dir})[dir]
		}
		for _, instance := range instances {
			e.recordSources(r.sources, instance)
			if instance.Err != nil {
				// What is missing may come with any file.
				r.sources[everyDir] = e.sources.key(everyDir)
			}
			part := e.instance(dir, instance)
			out.objects = append(out.objects, part.objects...)
			out.problems = append(out.problems, part.problems...)
			out.notes = append(out.notes, part.notes...)
		}
		return &out
	})
	r.fileResult = *out
	// Files can appear in the directory and in those above it, even if none was there.
	for up := dir; ; up = path.Dir(up) {
		r.sources[up] = e.sources.key(up)
		if up == e.module.root || up == "." {
			break
		}
	}
	r.sources[path.Join(e.module.root, "cue.mod")] = e.sources.key(path.Join(e.module.root, "cue.mod"))
	return r
}

// recordSources notes the directories that an instance was read from.
func (e *cueEvaluation) recordSources(into map[string]string, instance *build.Instance) {
	for _, f := range instance.BuildFiles {
		dir := path.Dir(e.module.inTree(f.Filename))
		if _, ok := into[dir]; !ok {
			into[dir] = e.sources.key(dir)
		}
	}
	for _, i := range instance.Imports {
		e.recordSources(into, i)
	}
}

// instance finds the objects of a loaded package.
func (e *cueEvaluation) instance(dir string, instance *build.Instance) *fileResult {
	r := &fileResult{}
	if instance.Err != nil {
		r.problems = e.problems(dir, api.Ref{}, nil, instance.Err)
		for i := range r.problems {
			r.problems[i].Field = "" // it would be the package
		}
		return r
	}
	v := cuecontext.New().BuildInstance(instance)
	w := &cueWalk{cueEvaluation: e, dir: dir, result: r, template: e.parents[dir]}
	w.find(v, nil, 0)
	if err := v.Err(); err != nil && len(r.problems) == 0 {
		r.problems = e.problems(dir, api.Ref{}, nil, err)
	}
	return r
}

// A cueWalk looks for objects in the value of one package.
type cueWalk struct {
	*cueEvaluation
	dir    string
	result *fileResult
	// template reports that directories below complete this package: what is incomplete here is theirs to judge.
	template bool
}

// find descends to every concrete struct with apiVersion and kind.
func (w *cueWalk) find(v cue.Value, at []string, depth int) {
	if depth > maxDepth {
		return
	}
	if isObject(v) {
		w.object(v, at)
		return
	}
	// What has an error somewhere below has no kind, but still has members.
	kind := v.IncompleteKind()
	if kind == cue.StructKind || kind == cue.BottomKind {
		if fields, err := v.Fields(); err == nil {
			for fields.Next() {
				w.find(fields.Value(), append(slices.Clip(at), fields.Selector().String()), depth+1)
			}
			return
		}
	}
	if kind == cue.ListKind || kind == cue.BottomKind {
		// A list without end, or one that is not known yet, is no data.
		if list, err := v.List(); err == nil {
			for i := 0; list.Next(); i++ {
				w.find(list.Value(), append(slices.Clip(at), strconv.Itoa(i)), depth+1)
			}
			return
		}
	}
	if err := v.Err(); kind == cue.BottomKind && err != nil && !isIncomplete(v) {
		w.result.problems = append(w.result.problems, w.problems(w.dir, api.Ref{}, nil, err)...)
	}
}

func isObject(v cue.Value) bool {
	for _, name := range []string{"apiVersion", "kind"} {
		f := v.LookupPath(cue.MakePath(cue.Str(name)))
		if f.Kind() != cue.StringKind {
			if d, ok := f.Default(); !ok || d.Kind() != cue.StringKind {
				return false
			}
		}
	}
	return true
}

// isIncomplete tells a value that still could become something from one that cannot.
func isIncomplete(v cue.Value) bool { return v.Validate(cue.Concrete(false)) == nil }

// object takes in one object, or the items of a List.
func (w *cueWalk) object(v cue.Value, at []string) {
	if err := v.Validate(cue.Concrete(true)); err != nil {
		if w.template && isIncomplete(v) {
			return
		}
		ref := w.compiler.refOf(w.head(v))
		w.result.objects = append(w.result.objects, &declared{ref: ref, source: w.source(v)})
		w.result.problems = append(w.result.problems, w.problems(w.dir, ref, at, err)...)
		return
	}
	doc := w.value(v)
	doc.pos = w.source(v)
	w.compiler.document(w.result, doc)
}

// head reads just enough of an object to name it.
func (w *cueWalk) head(v cue.Value) *value {
	doc := &value{kind: structKind}
	text := func(into *value, name string, p ...string) {
		var selectors []cue.Selector
		for _, s := range p {
			selectors = append(selectors, cue.Str(s))
		}
		if s, err := v.LookupPath(cue.MakePath(selectors...)).String(); err == nil {
			into.fields = append(into.fields, field{name: name, value: &value{kind: stringKind, text: s}})
		}
	}
	text(doc, "kind", "kind")
	metadata := &value{kind: structKind}
	text(metadata, "name", "metadata", "name")
	text(metadata, "namespace", "metadata", "namespace")
	doc.fields = append(doc.fields, field{name: "metadata", value: metadata})
	return doc
}

// source is where an object stands: at its kind, if that is in the tree and not in an imported definition.
func (w *cueWalk) source(v cue.Value) api.Position {
	for _, p := range []cue.Path{cue.ParsePath("kind"), cue.ParsePath("apiVersion"), cue.ParsePath("metadata.name"), cue.ParsePath("metadata"), {}} {
		if pos := w.position(v.LookupPath(p)); pos.Line > 0 {
			return pos
		}
	}
	return api.Position{File: w.dir}
}

// position is where a value was written in the tree; zero if only imported files say it.
func (w *cueWalk) position(v cue.Value) api.Position {
	if pos := w.treePosition(v.Pos()); pos.Line > 0 {
		return pos
	}
	if op, parts := v.Expr(); op == cue.AndOp {
		for _, p := range parts {
			if pos := w.treePosition(p.Pos()); pos.Line > 0 {
				return pos
			}
		}
	}
	return api.Position{}
}

// dir and keepDir are the cache of CUE directories: a result holds as long as every directory that it was read from
// has the same files.
func (c *cache) dir(dir string, sources *cueSources, generation uint64) (*packageResult, bool) {
	c.mu.Lock()
	k, ok := c.packages[dir]
	c.mu.Unlock()
	if !ok {
		return nil, false
	}
	for d, key := range k.result.sources {
		if sources.key(d) != key {
			return nil, false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k.used = max(k.used, generation)
	return k.result, true
}

func (c *cache) keepDir(dir string, generation uint64, r *packageResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packages[dir] = &kept[*packageResult]{generation, r}
}
