package schema

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"headway.dev/headway/api"
)

// compileKustomizations builds the kustomizations of which anything that they look at has changed.
func (c *Compiler) compileKustomizations(ctx context.Context, l *listing, k *kustomizations, generation uint64, add func(*fileResult)) error {
	if len(k.problems) > 0 || len(k.notes) > 0 {
		add(&fileResult{problems: k.problems, notes: k.notes})
	}
	state := &pathStates{l: l, kinds: map[string]fs.FileMode{}, known: map[string]string{}}
	built := map[string]*fileResult{}
	job := &Job{Language: Kustomize}
	for _, dir := range k.roots {
		if r, ok := c.kustomized.dir(dir, state, generation); ok {
			built[dir] = &r.fileResult
			continue
		}
		job.Dirs = append(job.Dirs, dir)
	}
	if len(job.Dirs) > 0 {
		if err := c.evaluator.Evaluate(ctx, l.fsys, job, func(dir string, e *Evaluation) {
			r := &kustomizeResult{fileResult: *c.take(dir, e), read: map[string]string{}}
			for _, p := range e.read {
				r.read[p] = state.of(p)
			}
			c.kustomized.keep(dir, generation, r)
			built[dir] = &r.fileResult
		}); err != nil {
			return err
		}
	}
	c.kustomized.end(generation)
	for _, r := range k.apart(built) {
		add(r)
	}
	return nil
}

// apart tells objects that several kustomizations build from one file by the kustomizations, and says what to do.
func (k *kustomizations) apart(built map[string]*fileResult) []*fileResult {
	type made struct {
		ref    api.Ref
		source api.Position
	}
	by := map[made][]string{}
	for _, dir := range k.roots {
		for _, d := range built[dir].objects {
			m := made{d.ref, d.source}
			if !slices.Contains(by[m], dir) {
				by[m] = append(by[m], dir)
			}
		}
	}
	shared := map[string]int{}
	var all []*fileResult
	for _, dir := range k.roots {
		r := *built[dir]
		r.objects = slices.Clone(r.objects)
		first := dir
		for i, d := range r.objects {
			dirs := by[made{d.ref, d.source}]
			if len(dirs) < 2 {
				continue
			}
			here := *d
			here.source = api.Position{File: k.files[dir]}
			r.objects[i] = &here
			first = dirs[0]
			shared[dir]++
		}
		if n := shared[dir]; n > 0 && first != dir {
			p := fileProblem(k.files[dir], "builds %d objects that %s builds too: they are variants of one thing, so let the synced path be the one that is to run here", n, k.files[first]).problems[0]
			p.Warning = true
			r.problems = append(slices.Clip(r.problems), p)
		}
		all = append(all, &r)
	}
	return all
}

// A kustomizeCache keeps kustomization files as parsed, and what kustomizations were built to.
type kustomizeCache struct {
	mu    sync.Mutex
	dirs  map[string]*kept[*kustomizeResult]
	files map[fileKey]*kept[*kustomization]
}

type kustomizeResult struct {
	fileResult
	read map[string]string // what each path was that the build looked at
}

func (c *kustomizeCache) dir(dir string, state *pathStates, generation uint64) (*kustomizeResult, bool) {
	c.mu.Lock()
	k, ok := c.dirs[dir]
	c.mu.Unlock()
	if !ok {
		return nil, false
	}
	for p, was := range k.result.read {
		if p == anew || state.of(p) != was {
			return nil, false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k.used = max(k.used, generation)
	return k.result, true
}

func (c *kustomizeCache) keep(dir string, generation uint64, r *kustomizeResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dirs == nil {
		c.dirs = map[string]*kept[*kustomizeResult]{}
	}
	c.dirs[dir] = &kept[*kustomizeResult]{generation, r}
}

// parse reads a kustomization file; what it gives is not to be changed.
func (c *kustomizeCache) parse(l *listing, file string, generation uint64) (*kustomization, error) {
	key, data, err := l.key(file)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.files[fileKey{file, key}]; ok {
		k.used = max(k.used, generation)
		return k.result, nil
	}
	if data == nil {
		if data, err = l.read(file); err != nil {
			return nil, err
		}
	}
	if c.files == nil {
		c.files = map[fileKey]*kept[*kustomization]{}
	}
	k := parseKustomization(file, data)
	c.files[fileKey{file, key}] = &kept[*kustomization]{generation, k}
	return k, nil
}

func (c *kustomizeCache) end(generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.files, func(_ fileKey, k *kept[*kustomization]) bool { return k.used+keepFor <= generation })
	maps.DeleteFunc(c.dirs, func(_ string, k *kept[*kustomizeResult]) bool { return k.used+keepFor <= generation })
}
