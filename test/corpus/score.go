package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
	"headway.dev/headway/schema"
)

// patience is how long a tree may take. Most take milliseconds; what takes this long is counted as hung.
const patience = time.Minute

// An outcome is what becomes of a document; the worst of its problems decides.
type outcome string

const (
	loads outcome = "loads"
	// notYet is refused by a reason that says so: headway is still to learn it.
	notYet outcome = "refused for now"
	// refused is refused for good, since it has no meaning without Kubernetes.
	refused outcome = "refused for good"
	// wrong is wrong to Kubernetes' strict types too, or holds a placeholder.
	wrong outcome = "wrong input"
	// disputed is told to be wrong, though Kubernetes' types take it: Kubernetes' validation may refuse it, or headway errs.
	disputed outcome = "said to be wrong"
	failed   outcome = "panic or timeout"
)

func outcomes() []outcome { return []outcome{loads, notYet, refused, wrong, disputed, failed} }

// A tally counts documents by outcome.
type tally map[outcome]int

func (t tally) total() int {
	n := 0
	for _, c := range t {
		n += c
	}
	return n
}

// A blocker is a field, or a kind, that keeps documents from loading.
type blocker struct {
	Place        string  `json:"place"` // Kind.field, without indices
	Message      string  `json:"message"`
	Outcome      outcome `json:"outcome"`
	Documents    int     `json:"documents"`
	Repositories int     `json:"repositories"`
	Example      string  `json:"example"`
	in           map[string]bool
}

// A treeScore is what a directory, taken as the path that is synced, comes to.
type treeScore struct {
	Directory string        `json:"directory"` // the repository's name first
	Objects   int           `json:"objects"`
	Errors    int           `json:"errors"`
	Warnings  int           `json:"warnings"`
	Complete  bool          `json:"complete"`
	Took      time.Duration `json:"tookNanoseconds"`
	Failure   string        `json:"failure,omitempty"`
}

// A repositoryScore sums up a repository's documents, and its root as a tree.
type repositoryScore struct {
	Name      string    `json:"name"`
	Documents tally     `json:"documents"`
	Tree      treeScore `json:"tree"`
	Complete  int       `json:"completeDirectories"`
	All       int       `json:"directories"`
}

// A score is what a corpus comes to.
type score struct {
	Documents    tally             `json:"documents"` // in scope
	OutOfScope   int               `json:"outOfScope"`
	Repositories []repositoryScore `json:"repositories"`
	Directories  []treeScore       `json:"directories"`
	Blockers     []*blocker        `json:"blockers"` // the one that blocks most first
	blockers     map[string]*blocker
}

// A scorer compiles a corpus: each document by itself, so that overlays which define the same do not count against each
// other, and each directory as a tree.
type scorer struct {
	compiler *schema.Compiler
	scheme   *runtime.Scheme
}

func newScorer() (*scorer, error) {
	compiler, err := schema.New(schema.Options{})
	if err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	return &scorer{compiler, scheme}, err
}

// repositories are the directories of a corpus.
func repositories(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the corpus cannot be read: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no directory: it should have one for each repository", dir)
	}
	return names, nil
}

func (s *scorer) corpus(ctx context.Context, dir string) (*score, error) {
	names, err := repositories(dir)
	if err != nil {
		return nil, err
	}
	out := &score{Documents: tally{}, blockers: map[string]*blocker{}}
	for _, name := range names {
		if err := s.repository(ctx, out, filepath.Join(dir, name), name); err != nil {
			return nil, err
		}
	}
	out.Blockers = slices.SortedFunc(maps.Values(out.blockers), func(a, b *blocker) int {
		return cmp.Or(b.Documents-a.Documents, b.Repositories-a.Repositories, strings.Compare(a.Place, b.Place), strings.Compare(a.Message, b.Message))
	})
	return out, nil
}

func (s *scorer) repository(ctx context.Context, out *score, dir, name string) error {
	documents, err := readRepository(dir, name)
	if err != nil {
		return err
	}
	r := repositoryScore{Name: name, Documents: tally{}}
	directories := map[string]bool{}
	for _, d := range documents {
		if !d.inScope() {
			out.OutOfScope++
			continue
		}
		directories[path.Dir(d.File)] = true
		o, problems := s.document(ctx, d)
		r.Documents[o]++
		out.Documents[o]++
		out.block(d, problems)
	}
	for _, sub := range slices.Sorted(maps.Keys(directories)) {
		t, err := s.tree(ctx, os.DirFS(filepath.Join(dir, sub)))
		if err != nil {
			return err
		}
		t.Directory = path.Join(name, sub)
		out.Directories = append(out.Directories, t)
		r.All++
		if t.Complete {
			r.Complete++
		}
	}
	if r.Tree, err = s.tree(ctx, os.DirFS(dir)); err != nil {
		return err
	}
	r.Tree.Directory = name
	out.Repositories = append(out.Repositories, r)
	return nil
}

// tree compiles a directory as the path that is synced.
func (s *scorer) tree(ctx context.Context, fsys fs.FS) (treeScore, error) {
	start := time.Now()
	r, err := s.compile(ctx, fsys)
	t := treeScore{Took: time.Since(start)}
	if err != nil {
		t.Failure = err.Error()
		return t, ctx.Err()
	}
	t.Objects, t.Complete = len(r.Objects), r.Complete
	for _, p := range r.Problems {
		if p.Warning {
			t.Warnings++
			continue
		}
		t.Errors++
		if panicked(p) {
			t.Failure = p.String()
		}
	}
	return t, nil
}

func (s *scorer) compile(ctx context.Context, fsys fs.FS) (*schema.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.compiler.Compile(ctx, fsys)
}

// document compiles a document by itself, and gives the problems that keep it from loading.
func (s *scorer) document(ctx context.Context, d document) (outcome, []rated) {
	r, err := s.compile(ctx, fstest.MapFS{d.name(): {Data: d.data}})
	if err != nil {
		return failed, []rated{{api.Problem{Message: err.Error()}, failed}}
	}
	_, err = strict(s.scheme, d)
	valid := err == nil || errors.Is(err, errUnknownType)
	worst := loads
	var blocking []rated
	for _, p := range r.Problems {
		if p.Warning || isReference(p) {
			continue
		}
		o := rate(p, valid)
		blocking = append(blocking, rated{p, o})
		if slices.Index(outcomes(), o) > slices.Index(outcomes(), worst) {
			worst = o
		}
	}
	return worst, blocking
}

// A rated problem is one with its outcome.
type rated struct {
	api.Problem
	outcome outcome
}

// rate tells what class a problem is of. valid says that Kubernetes' types take the document.
func rate(p api.Problem, valid bool) outcome {
	switch {
	case panicked(p):
		return failed
	case strings.Contains(p.Message, " yet"):
		return notYet
	case strings.Contains(p.Message, "is refused: ") || strings.Contains(p.Message, "is not served for "):
		return refused
	case valid && !strings.Contains(p.Message, "placeholder"):
		return disputed
	}
	return wrong
}

func panicked(p api.Problem) bool {
	return strings.Contains(p.Message, "headway failed on this file") || strings.Contains(p.Message, "does not fit its type")
}

// isReference tells whether a problem is of another object that is missing, as most are when a document stands alone.
func isReference(p api.Problem) bool {
	return strings.Contains(p.Message, " is not declared") || strings.Contains(p.Message, " has an error itself")
}

// block counts a document against what blocks it, once for each place.
func (s *score) block(d document, problems []rated) {
	counted := map[string]bool{}
	for _, p := range problems {
		place := d.Kind
		if f := pattern(p.Field); f != "" {
			place += "." + f
		}
		key := place + string(p.outcome)
		if p.outcome != disputed && p.outcome != wrong {
			key += p.Message // several values of a field may be refused
		}
		if counted[key] {
			continue
		}
		counted[key] = true
		b := s.blockers[key]
		if b == nil {
			b = &blocker{Place: place, Message: p.Message, Outcome: p.outcome, Example: d.Repository + "/" + d.File, in: map[string]bool{}}
			s.blockers[key] = b
		}
		b.Documents++
		b.in[d.Repository] = true
		b.Repositories = len(b.in)
	}
}
