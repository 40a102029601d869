package schema

import (
	"context"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue/build"
	"golang.org/x/sync/errgroup"
)

// A packageResult is what a CUE directory holds, with all that it was made from.
type packageResult struct {
	fileResult
	packages []string // names of the packages in the directory
	// open are objects that are not complete. They are in error unless a directory below has files of the same package:
	// then they are a template, which is judged where it is completed.
	open []openObject
	// sources maps each directory that was read to the key of its CUE files.
	sources map[string]string
}

type openObject struct {
	pkg string
	fileResult
}

// compileCUE evaluates the packages of every directory.
func (c *Compiler) compileCUE(ctx context.Context, l *listing, generation uint64, add func(*fileResult)) error {
	sources := newCUESources(l)
	for _, m := range cueModules(l) {
		results := map[string]*packageResult{}
		var changed []string
		for _, dir := range m.dirs {
			if r, ok := c.cache.dir(dir, sources, generation); ok {
				results[dir] = r
				continue
			}
			changed = append(changed, dir)
		}
		var mu sync.Mutex
		if err := c.evaluateParts(ctx, l, m.root, changed, func(dir string, e *Evaluation) {
			mu.Lock()
			defer mu.Unlock()
			results[dir] = c.takePackage(dir, e, sources)
			c.cache.keepDir(dir, generation, results[dir])
		}); err != nil {
			return err
		}
		for dir, r := range results {
			add(&r.fileResult)
			for _, o := range r.open {
				if !completed(results, dir, o.pkg) {
					add(&o.fileResult)
				}
			}
		}
	}
	return nil
}

// smallestPart is how many directories make it worth to read what they share once more, for another processor.
const smallestPart = 8

// evaluateParts evaluates directories of a module, as many parts of them at a time as there are processors.
func (c *Compiler) evaluateParts(ctx context.Context, l *listing, root string, dirs []string, done func(string, *Evaluation)) error {
	processors := runtime.GOMAXPROCS(0)
	group, ctx := errgroup.WithContext(ctx)
	for part := range slices.Chunk(dirs, max(smallestPart, (len(dirs)+processors-1)/processors)) {
		group.Go(func() error {
			job := &Job{Language: CUE, Root: root, Dirs: part, Files: l.cue, Modules: l.modules, Tags: c.options.Tags}
			return c.evaluator.Evaluate(ctx, l.fsys, job, done)
		})
	}
	return group.Wait()
}

// takePackage makes the result of a directory from its evaluation.
func (c *Compiler) takePackage(dir string, e *Evaluation, sources *cueSources) *packageResult {
	r := &packageResult{fileResult: *c.take(dir, e), packages: e.packages, open: e.open, sources: map[string]string{}}
	for _, d := range e.read {
		r.sources[d] = sources.key(d)
	}
	return r
}

// evaluateCUE evaluates directories of one module. What one evaluation needs of memory lives only as long as this call:
// a CUE context never forgets.
func (c *Compiler) evaluateCUE(ctx context.Context, l *listing, job *Job, begin func(string), done func(string, *Evaluation)) error {
	options := c.options
	options.Tags = job.Tags
	e := &cueEvaluation{
		compiler: &evaluating{Compiler: c, options: options},
		module:   &cueModule{root: job.Root, dirs: job.Dirs},
		sources:  newCUESources(l),
	}
	if len(job.Dirs) == 1 {
		begin(job.Dirs[0])
	}
	if err := e.module.fill(e.sources); err != nil {
		return err
	}
	e.loadAll(job.Dirs)
	for _, dir := range job.Dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin(dir)
		done(dir, e.directory(dir))
	}
	return nil
}

// completed tells whether a directory below has files of a package.
func completed(results map[string]*packageResult, dir, pkg string) bool {
	for d, r := range results {
		if rest, ok := below(d, dir); ok && rest != dir && slices.Contains(r.packages, pkg) {
			return true
		}
	}
	return false
}

// cueModules gives each directory with CUE files to the nearest module above it; without one, the tree is the module.
func cueModules(l *listing) []*cueModule {
	byRoot := map[string]*cueModule{}
	seen := map[string]bool{}
	for _, file := range l.cue {
		dir := path.Dir(file)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		root := dir
		for root != "." && !slices.Contains(l.modules, root) {
			root = path.Dir(root)
		}
		if byRoot[root] == nil {
			byRoot[root] = &cueModule{root: root}
		}
		byRoot[root].dirs = append(byRoot[root].dirs, dir)
	}
	return slices.SortedFunc(maps.Values(byRoot), func(a, b *cueModule) int { return strings.Compare(a.root, b.root) })
}

// A cueEvaluation loads and evaluates the directories of one module.
type cueEvaluation struct {
	compiler *evaluating
	module   *cueModule
	sources  *cueSources
	loaded   map[string][]*build.Instance
	context  *cueContext // nil until there is one
}

// loadAll loads directories together, so that what they share is read once. If one makes the loader panic, each is
// loaded by itself later, and the panic is that one's problem.
func (e *cueEvaluation) loadAll(dirs []string) {
	defer func() {
		if recover() != nil {
			e.loaded = nil
		}
	}()
	dirs = slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool { return !e.module.readable[dir] })
	if len(dirs) > 0 {
		e.loaded = e.load(dirs)
	}
}

// directory evaluates one directory. Whatever happens, it yields an evaluation.
func (e *cueEvaluation) directory(dir string) *Evaluation {
	r := &packageResult{sources: map[string]string{}}
	e.compiler.docs = nil
	whole := false
	out := e.compiler.guard(dir, func() *fileResult {
		var out fileResult
		whole = true
		for _, i := range e.instances(dir) {
			e.recordSources(r.sources, i)
			r.packages = append(r.packages, i.PkgName)
			whole = whole && i.Err == nil
			e.instance(dir, i, &out, r)
		}
		return &out
	})
	read := slices.Collect(maps.Keys(r.sources))
	if !whole {
		// What is missing may come with any file.
		read = append(read, everyDir)
	}
	// Files can appear in the directory and in those above it, even if none was there.
	read = append(append(read, parents(dir, e.module.root)...), path.Join(e.module.root, "cue.mod"))
	slices.Sort(read)
	return &Evaluation{
		docs: e.compiler.docs, objects: out.objects, packages: r.packages, open: r.open, read: slices.Compact(read),
		problems: slices.Concat(out.problems, e.module.bad[dir], e.module.bad[path.Join(e.module.root, "cue.mod")]),
	}
}

// instances are the packages of a directory; none if no file of it can be read.
func (e *cueEvaluation) instances(dir string) []*build.Instance {
	if instances, ok := e.loaded[dir]; ok || !e.module.readable[dir] {
		return instances
	}
	return e.load([]string{dir})[dir]
}

// recordSources notes the directories that an instance was read from.
func (e *cueEvaluation) recordSources(into map[string]string, instance *build.Instance) {
	for _, f := range instance.BuildFiles {
		dir := path.Dir(e.module.inTree(f.Filename))
		if _, ok := into[dir]; !ok {
			into[dir] = ""
		}
	}
	for _, i := range instance.Imports {
		e.recordSources(into, i)
	}
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
		if d == anew || sources.key(d) != key {
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
