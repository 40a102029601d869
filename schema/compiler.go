package schema

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"headway.dev/headway/api"
)

// definitions are the CUE files that describe the kinds.
//
//go:embed *.cue
var definitions embed.FS

// Options set up a Compiler.
type Options struct {
	// Tags are the values of CUE's @tag attributes. One that no file asks for is ignored.
	Tags map[string]string
	// Logger hears of what a person cannot act on; nil discards it.
	Logger *slog.Logger
	// Evaluator does the work whose cost has no bound; nil does it in this process, without limits.
	Evaluator Evaluator
	// CacheDir is a directory in which evaluations of CUE packages and kustomizations outlive the process; empty keeps
	// them in memory only. It is made if need be, bounded in size, and may be shared by processes and builds. Nothing that
	// holds a Secret is written there.
	CacheDir string
}

// A Compiler turns trees of manifests into objects. It keeps what it made of each file for the next tree, and is safe
// for concurrent use.
type Compiler struct {
	options      Options
	definitions  map[string]*constraint
	kinds        map[string]*kindEntry
	later        []laterKind
	names        []string // of all kinds known, for suggestions
	cache        cache
	evaluator    Evaluator
	kustomized   kustomizeCache
	fingerprints fingerprints
}

// Result is what a tree holds.
type Result struct {
	// Objects are the valid objects with defaults filled in, ordered by ref. They are shared between results: never
	// change one.
	Objects []api.Object
	// Problems are all that was found, warnings too, ordered by file, line and column.
	Problems []api.Problem
	// Complete reports that there was no error. Only then does an object's absence mean that it was deleted.
	Complete bool
}

// New makes a Compiler. It fails only if the definitions built into the program are wrong, or the cache directory cannot
// be made.
func New(options Options) (*Compiler, error) {
	lowered, err := lowerDefinitions(definitions)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	c := newCompiler(options)
	for kind, k := range c.kinds {
		if d, ok := lowered[k.definition()]; !ok || d.structArm() == nil {
			return nil, fmt.Errorf("schema: there is no definition %s of %s", k.definition(), kind)
		}
	}
	c.definitions = lowered
	if options.CacheDir != "" {
		disk, err := openDiskCache(options.CacheDir, maxDisk)
		if err != nil {
			return nil, fmt.Errorf("schema: cache directory %s: %w", options.CacheDir, err)
		}
		c.evaluator = &rememberingEvaluator{c.evaluator, disk, c.options.Logger}
	}
	return c, nil
}

// newCompiler makes a Compiler that knows the names of the kinds, but not what they hold.
func newCompiler(options Options) *Compiler {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Compiler{options: options, evaluator: options.Evaluator, kinds: map[string]*kindEntry{}, later: laterKinds()}
	if c.evaluator == nil {
		c.evaluator = inProcess{&Worker{c}}
	}
	for _, k := range kinds() {
		c.kinds[k.kind] = &k
		c.names = append(c.names, k.kind)
	}
	for _, l := range c.later {
		c.names = append(c.names, l.kind)
	}
	slices.Sort(c.names)
	return c
}

// Compile reads every manifest of a tree. The error is of ctx, or of reading the tree as a whole; what is wrong with a
// file or an object is a Problem, and the rest of the tree goes on.
//
// A tree that has a method Hash(path string) (string, bool), giving a key of a file's content, lets Compile leave
// unchanged files unread.
func (c *Compiler) Compile(ctx context.Context, fsys fs.FS) (*Result, error) {
	generation := c.cache.begin()
	l, err := listFiles(ctx, fsys, &c.cache, generation)
	if err != nil {
		return nil, err
	}
	kustomized := c.kustomizations(l, generation)
	var (
		mu     sync.Mutex
		data   = make([]*fileResult, len(l.data))
		others = []*fileResult{{problems: l.problems}}
	)
	add := func(r *fileResult) {
		mu.Lock()
		defer mu.Unlock()
		others = append(others, r)
	}

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	group.Go(func() error { return c.compileCUE(ctx, l, generation, add) })
	group.Go(func() error { return c.compileKustomizations(ctx, l, kustomized, generation, add) })
	const batch = 64
	for from := 0; from < len(data); from += batch {
		group.Go(func() error {
			for i := from; i < min(from+batch, len(data)); i++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				data[i] = c.dataFile(l, l.data[i], generation)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	c.cache.end(generation)
	return link(slices.Concat(data, others), &c.cache.order), nil
}

// dataFile gives what a YAML or JSON file holds, from the cache if its content was met before.
func (c *Compiler) dataFile(l *listing, path string, generation uint64) *fileResult {
	listed := l.file(path)
	var key string
	var data []byte
	var err error
	if listed != nil {
		key = listed.key
	} else if key, data, err = l.key(path); err != nil {
		return fileProblem(path, "cannot be read: %v", err)
	}
	if r, ok := c.cache.file(listed, path, key, generation); ok {
		return r
	}
	if data == nil {
		if data, err = l.read(path); err != nil {
			return fileProblem(path, "cannot be read: %v", err)
		}
	}
	r := notText(path, data)
	if r == nil {
		r = c.guard(path, func() *fileResult { return c.compileData(path, data) })
	}
	r.problems = bounded(path, r.problems)
	c.cache.keepFile(listed, path, key, generation, r)
	return r
}

// guard turns a panic of a parser into a problem of the file that caused it.
func (c *Compiler) guard(path string, f func() *fileResult) (r *fileResult) {
	defer func() {
		if p := recover(); p != nil {
			c.options.Logger.Error("a manifest made the compiler panic", "file", path, "panic", p)
			r = fileProblem(path, "headway failed on this file (%v): please report it, with the file", p)
		}
	}()
	return f()
}

func fileProblem(path, format string, args ...any) *fileResult {
	return &fileResult{problems: []api.Problem{{Source: api.Position{File: path}, Message: fmt.Sprintf(format, args...)}}}
}

// compareProblems orders by file, line, column, then by what is said.
func compareProblems(a, b api.Problem) int {
	return cmp.Or(comparePositions(a.Source, b.Source), a.Ref.Compare(b.Ref),
		cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
}

func comparePositions(a, b api.Position) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}
