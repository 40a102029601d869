package schema

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"slices"

	"headway.dev/headway/api"
)

// A rememberingEvaluator looks whether an earlier process did the same job. YAML and JSON are not kept so: thousands of
// their objects are read a second. Nothing that holds a secret is kept, nor anything with an error, whose
// message might quote one.
type rememberingEvaluator struct {
	next   Evaluator
	disk   *diskCache
	logger *slog.Logger
}

func (r *rememberingEvaluator) Evaluate(ctx context.Context, tree fs.FS, job *Job, done func(string, *Evaluation)) error {
	l := &listing{fsys: tree, cue: job.Files, modules: job.Modules}
	l.hasher, _ = tree.(hasher)
	state := (&pathStates{l: l, kinds: map[string]fs.FileMode{}, known: map[string]string{}}).of
	if job.Language == CUE {
		state = newCUESources(l).key
	}
	rest := *job
	rest.Dirs = nil
	for _, dir := range job.Dirs {
		if e, ok := r.recall(job, dir, state); ok {
			done(dir, e)
			continue
		}
		rest.Dirs = append(rest.Dirs, dir)
	}
	if len(rest.Dirs) == 0 {
		return ctx.Err()
	}
	return r.next.Evaluate(ctx, tree, &rest, func(dir string, e *Evaluation) {
		r.remember(job, dir, e, state)
		done(dir, e)
	})
}

// jobKey names the evaluation of a directory, but for the files that it reads.
func jobKey(job *Job, dir string) string {
	key, err := json.Marshal([]any{job.Language, job.Root, job.Tags, dir})
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return string(key)
}

// recall gives an evaluation if all that it was made from is the same.
func (r *rememberingEvaluator) recall(job *Job, dir string, state func(string) string) (*Evaluation, bool) {
	entry, ok := r.disk.get(jobKey(job, dir))
	if !ok {
		return nil, false
	}
	read, e, ok := unpack(entry)
	if !ok {
		return nil, false
	}
	for path, was := range read {
		if state(path) != was {
			return nil, false
		}
	}
	return e, true
}

func (r *rememberingEvaluator) remember(job *Job, dir string, e *Evaluation, state func(string) string) {
	if len(e.read) == 0 || slices.Contains(e.read, anew) || len(e.open) > 0 || len(e.objects) > 0 ||
		slices.ContainsFunc(e.problems, func(p api.Problem) bool { return !p.Warning }) || slices.ContainsFunc(e.docs, holdsSecret) {
		return
	}
	read := make(map[string]string, len(e.read))
	for _, path := range e.read {
		read[path] = state(path)
	}
	entry, err := pack(read, e)
	if err == nil {
		err = r.disk.put(jobKey(job, dir), entry)
	}
	if err != nil {
		r.logger.Warn("what was evaluated is not kept on disk", "directory", dir, "error", err)
	}
}

// holdsSecret tells whether there is a Secret in a document, be it within a List.
func holdsSecret(v *value) bool {
	if v.str("kind") == "Secret" {
		return true
	}
	return slices.ContainsFunc(v.items, holdsSecret) ||
		slices.ContainsFunc(v.fields, func(f field) bool { return holdsSecret(f.value) })
}
