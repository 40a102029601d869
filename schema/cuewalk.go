package schema

import (
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"

	"headway.dev/headway/api"
)

// instance finds the objects of a loaded package.
func (e *cueEvaluation) instance(dir string, instance *build.Instance, out *fileResult, r *packageResult) {
	e.module.secret = e.module.makesSecret(instance)
	if instance.Err != nil {
		for _, p := range e.module.problems(api.Ref{}, nil, inFile(dir), instance.Err) {
			p.Field = "" // it would be the package
			out.problems = append(out.problems, p)
		}
		return
	}
	if broken := e.module.brokenFiles(instance); len(broken) > 0 {
		out.problems = append(out.problems, broken...)
		return
	}
	found := fileResult{}
	w := &cueWalk{cueEvaluation: e, dir: dir, pkg: instance.PkgName, result: &found, directory: r}
	built := e.takeContext()
	v := built.context.BuildInstance(instance)
	w.find(v, nil, 0)
	if err := v.Err(); err != nil && len(found.problems) == 0 && len(r.open) == 0 {
		found.problems = e.module.problems(api.Ref{}, nil, w.near(v), err)
	}
	e.context = built // unless there was a panic, after which no one knows what it holds
	out.objects = append(out.objects, found.objects...)
	out.problems = append(out.problems, found.problems...)
	out.notes = append(out.notes, found.notes...)
}

// packagesPerContext is after how many packages a context is left to the garbage collector. A context never forgets, but
// evaluates what packages share only once: the definitions of Kubernetes take longer than most packages.
const packagesPerContext = 16

// A cueContext is a context and how many packages it has evaluated.
type cueContext struct {
	context *cue.Context
	used    int
}

// takeContext gives the context to evaluate one more package in.
func (e *cueEvaluation) takeContext() *cueContext {
	c := e.context
	if c == nil || c.used == packagesPerContext {
		c = &cueContext{context: cuecontext.New()}
	}
	e.context = nil
	c.used++
	return c
}

// A cueWalk looks for objects in the value of one package.
type cueWalk struct {
	*cueEvaluation
	dir       string
	pkg       string
	result    *fileResult
	directory *packageResult
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
		w.result.problems = append(w.result.problems, w.module.problems(api.Ref{}, nil, w.near(v), err)...)
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
		ref := w.compiler.refOf(w.head(v))
		bad := fileResult{
			objects:  []*declared{{ref: ref, source: w.source(v)}},
			problems: w.failures(v, ref, at),
		}
		if isIncomplete(v) {
			w.directory.open = append(w.directory.open, openObject{w.pkg, bad})
			return
		}
		w.result.objects = append(w.result.objects, bad.objects...)
		w.result.problems = append(w.result.problems, bad.problems...)
		return
	}
	doc := w.value(v)
	doc.pos = w.source(v)
	w.compiler.document(w.result, doc)
}

// failures are all that is wrong with an object: what contradicts itself, and what is only not there yet, which CUE
// leaves out where it finds the former.
func (w *cueWalk) failures(v cue.Value, ref api.Ref, at []string) []api.Problem {
	var out []api.Problem
	near := w.near(v)
	var collect func(v cue.Value, depth int)
	collect = func(v cue.Value, depth int) {
		err := v.Validate(cue.Concrete(true))
		if err == nil {
			return
		}
		for _, p := range w.module.problems(ref, at, near, err) {
			if !slices.ContainsFunc(out, func(o api.Problem) bool { return o.Field == p.Field }) {
				out = append(out, p)
			}
		}
		if v.Err() == nil || depth > maxDepth {
			return // all of it is told
		}
		for child := range members(v) {
			collect(child, depth+1)
		}
	}
	collect(v, 0)
	return out
}

// near gives a position for what has none below a value: that of the nearest thing around it, best in the directory at
// hand, where it can be mended.
func (w *cueWalk) near(v cue.Value) func(rest []string) api.Position {
	return func(rest []string) api.Position {
		best := api.Position{File: w.dir}
		for n := len(rest); n >= 0; n-- {
			around := lookup(v, rest[:n])
			_, parts := around.Expr()
			for _, p := range append([]cue.Value{around}, parts...) {
				pos := w.module.treePosition(p.Pos())
				if pos.Line > 0 && path.Dir(pos.File) == w.dir {
					return pos
				}
				if best.Line == 0 && pos.Line > 0 {
					best = pos
				}
			}
		}
		return best
	}
}

// lookup finds a value below another, by steps as errors have them.
func lookup(v cue.Value, steps []string) cue.Value {
	selectors := make([]cue.Selector, len(steps))
	for i, s := range steps {
		if index, err := strconv.Atoi(s); err == nil {
			selectors[i] = cue.Index(index)
			continue
		}
		if name, err := strconv.Unquote(s); err == nil {
			s = name
		}
		if strings.HasPrefix(s, "#") {
			selectors[i] = cue.Def(s)
			continue
		}
		selectors[i] = cue.Str(s)
	}
	return v.LookupPath(cue.MakePath(selectors...))
}

// members are the values of a struct or list, as far as there are any.
func members(v cue.Value) iter.Seq[cue.Value] {
	return func(yield func(cue.Value) bool) {
		if fields, err := v.Fields(); err == nil {
			for fields.Next() {
				if !yield(fields.Value()) {
					return
				}
			}
			return
		}
		if list, err := v.List(); err == nil {
			for list.Next() {
				if !yield(list.Value()) {
					return
				}
			}
		}
	}
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

// position is where a value was written in the tree; zero if only files that come with the program say it.
func (w *cueWalk) position(v cue.Value) api.Position {
	if pos := w.module.treePosition(v.Pos()); pos.Line > 0 {
		return pos
	}
	return w.conjunctPosition(v)
}

// conjunctPosition looks for the position of any part of a value. It is slow.
func (w *cueWalk) conjunctPosition(v cue.Value) api.Position {
	if op, parts := v.Expr(); op == cue.AndOp {
		for _, p := range parts {
			if pos := w.module.treePosition(p.Pos()); pos.Line > 0 {
				return pos
			}
		}
	}
	return api.Position{}
}
