package schema

import (
	"context"
	"fmt"
	"io/fs"
	"path"

	"headway.dev/headway/api"
)

// A Language is one whose evaluation has no bound: what a file of a few lines costs is known only by doing it.
type Language string

// The languages that are evaluated. YAML and JSON are only read.
const (
	CUE       Language = "CUE"
	Kustomize Language = "kustomize"
)

// A Job asks for the evaluation of directories of a tree. It can cross to another process as JSON.
type Job struct {
	Language Language `json:"language"`
	// Dirs are the directories to evaluate, each by itself: CUE packages of one module, or kustomizations.
	Dirs []string `json:"dirs"`
	// Root is the directory of the CUE module.
	Root string `json:"root,omitempty"`
	// Files are the CUE files of the tree, and Modules the directories with a cue.mod.
	Files   []string `json:"files,omitempty"`
	Modules []string `json:"modules,omitempty"`
	// Tags are the values of CUE's @tag attributes.
	Tags map[string]string `json:"tags,omitempty"`
}

// An Evaluation is what one directory of a job yields: documents with their positions, and what is wrong. It crosses
// between processes by MarshalBinary.
type Evaluation struct {
	docs     []*value
	objects  []*declared // of which only the identity is known, for they have an error
	problems []api.Problem
	packages []string     // names of the CUE packages in the directory
	open     []openObject // CUE objects that are not complete
	// read names what the evaluation depends on: directories of CUE files, or paths that a kustomization looked at.
	read []string
}

// An Evaluator does jobs.
type Evaluator interface {
	// Evaluate hands to done what each directory of a job yields. A directory that cannot be evaluated, for whatever
	// reason, yields an evaluation that says why. The error is of ctx, or that no job can be done at all. Several jobs
	// may be asked for at once.
	Evaluate(ctx context.Context, tree fs.FS, job *Job, done func(dir string, e *Evaluation)) error
}

// Failed is the evaluation of a directory that yielded nothing, for a reason that a person can act on. It stands until
// one of the paths changes that were looked at on the way; if that is nil, the next compile tries again.
func Failed(job *Job, dir, reason string, looked []string) *Evaluation {
	e := &Evaluation{problems: fileProblem(dir, "%s", reason).problems, read: []string{anew}}
	switch {
	case looked == nil:
	case job.Language == CUE:
		e.read = []string{everyDir}
	case len(looked) > 0:
		e.read = nil
		for _, p := range looked {
			e.read = append(e.read, lookedAt+p, contents+p)
		}
	}
	return e
}

// anew stands for what is different at every compile.
const anew = "!"

// A Worker does jobs in its own process.
type Worker struct{ compiler *Compiler }

// NewWorker makes a Worker. Unlike a Compiler, it is cheap.
func NewWorker(options Options) *Worker { return &Worker{compiler: newCompiler(options)} }

// Evaluate does a job directory by directory, telling of each before it begins.
func (w *Worker) Evaluate(ctx context.Context, tree fs.FS, job *Job, begin func(dir string), done func(dir string, e *Evaluation)) error {
	l := &listing{fsys: tree, cue: job.Files, modules: job.Modules}
	l.hasher, _ = tree.(hasher)
	switch job.Language {
	case CUE:
		return w.compiler.evaluateCUE(ctx, l, job, begin, done)
	case Kustomize:
		for _, dir := range job.Dirs {
			if err := ctx.Err(); err != nil {
				return err
			}
			begin(dir)
			done(dir, w.compiler.evaluateKustomization(l, dir))
		}
		return nil
	}
	return fmt.Errorf("schema: there is no language %q", job.Language)
}

// inProcess is the Evaluator that sets no limits.
type inProcess struct{ worker *Worker }

func (p inProcess) Evaluate(ctx context.Context, tree fs.FS, job *Job, done func(dir string, e *Evaluation)) error {
	return p.worker.Evaluate(ctx, tree, job, func(string) {}, done)
}

// take turns what was evaluated into objects.
func (c *Compiler) take(dir string, e *Evaluation) *fileResult {
	return c.guard(dir, func() *fileResult {
		r := &fileResult{objects: e.objects, problems: e.problems}
		for _, doc := range e.docs {
			c.document(r, doc)
		}
		return r
	})
}

// An evaluating compiler is one that only collects the documents that an evaluation finds; to take them in is the work
// of the process that asked.
type evaluating struct {
	*Compiler
	options Options
	docs    []*value
}

func (e *evaluating) document(_ *fileResult, doc *value) bool {
	e.docs = append(e.docs, doc)
	return true
}

// parents are the directories from dir up to root.
func parents(dir, root string) []string {
	for dirs := []string{dir}; ; dirs = append(dirs, dir) {
		up := path.Dir(dir)
		if dir == root || up == dir {
			return dirs
		}
		dir = up
	}
}
