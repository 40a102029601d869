package evaluator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"headway.dev/headway/schema"
)

// A limitError says which limit an evaluation passed.
type limitError struct{ reason string }

func (e *limitError) Error() string { return e.reason }

// A talk is one job with one child.
type talk struct {
	process *process
	tree    fs.FS
	limits  Options
	current string          // the directory being evaluated; empty before the first
	looked  map[string]bool // paths that it asked for
	begun   atomic.Int64    // when the child began with it, by time.Since(epoch)
}

func (t *talk) lookedAt() []string {
	paths := make([]string, 0, len(t.looked))
	for p := range t.looked {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// run has a job done, and gives the directories of which nothing was yielded. After an error the child is of no more use.
func (t *talk) run(ctx context.Context, job *schema.Job, done func(string, *schema.Evaluation)) (left []string, err error) {
	watch := make(chan error, 1)
	stop := make(chan struct{})
	epoch := time.Now()
	go func() { watch <- t.watch(ctx, epoch, stop) }()
	left = slices.Clone(job.Dirs)
	err = t.converse(job, epoch, func(dir string, e *schema.Evaluation) {
		left = slices.DeleteFunc(left, func(d string) bool { return d == dir })
		done(dir, e)
	})
	close(stop)
	if limit := <-watch; limit != nil {
		return left, limit
	}
	if err == nil && len(left) > 0 {
		err = errGarbage
	}
	return left, err
}

// watch kills the child when it passes a limit or ctx is done, and gives the reason.
func (t *talk) watch(ctx context.Context, epoch time.Time, stop <-chan struct{}) error {
	const interval = 10 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			t.process.signalKill()
			return ctx.Err()
		case <-tick.C:
		}
		var limit *limitError
		if time.Since(epoch)-time.Duration(t.begun.Load()) > t.limits.Time {
			limit = &limitError{fmt.Sprintf("takes more than %s to evaluate, which is the limit: look for lists or structs that multiply, and for recursion", t.limits.Time)}
		} else if used := t.process.resident(); used > t.limits.Memory {
			limit = &limitError{fmt.Sprintf("takes more than %d MiB of memory to evaluate, which is the limit: look for lists or structs that multiply, and for recursion", t.limits.Memory>>20)}
		}
		if limit != nil {
			t.process.signalKill()
			return limit
		}
	}
}

// converse sends the job and answers the child until it is done.
func (t *talk) converse(job *schema.Job, epoch time.Time, done func(string, *schema.Evaluation)) error {
	p := t.process.pipe
	w := work{Job: job}
	if tree, ok := t.tree.(keyed); ok {
		w.Keys = make([]string, len(job.Files))
		for i, file := range job.Files {
			w.Keys[i], _ = tree.Hash(file)
		}
	}
	if err := p.sendJSON(frameJob, w); err != nil {
		return err
	}
	for {
		f, payload, err := p.receive()
		if err != nil {
			return err
		}
		switch f {
		case frameAsk:
			err = t.answer(payload)
		case frameBegin:
			if !slices.Contains(job.Dirs, string(payload)) {
				return errGarbage
			}
			t.current = string(payload)
			clear(t.looked)
			t.begun.Store(int64(time.Since(epoch)))
		case frameYield:
			e := &schema.Evaluation{}
			if err := e.UnmarshalBinary(payload); err != nil || t.current == "" {
				return errors.Join(errGarbage, err)
			}
			done(t.current, e)
		case frameDone:
			if len(payload) > 0 {
				return fmt.Errorf("the evaluation failed: %s", payload)
			}
			return nil
		default:
			return errGarbage
		}
		if err != nil {
			return err
		}
	}
}

func (t *talk) answer(payload []byte) error {
	var q question
	if err := json.Unmarshal(payload, &q); err != nil {
		return errors.Join(errGarbage, err)
	}
	t.looked[q.Path] = true
	return reply(t.process.pipe, t.tree, q)
}
