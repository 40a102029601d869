package evaluator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"headway.dev/headway/schema"
)

// Options set up an Evaluator. The zero value of each field but Command stands for its default.
type Options struct {
	// Command is the program and the arguments that make it call Serve.
	Command []string
	// Path is the executable, where that is not Command[0].
	Path string
	// Env are variables of the child, which has no others.
	Env []string
	// Time bounds the evaluation of one directory; 15 s.
	Time time.Duration
	// Memory bounds what a child has resident, in bytes; 1 GiB. Other systems than Linux only collect garbage by it.
	Memory int64
	// Idle is how long a child waits for the next job before it is ended; 10 s.
	Idle time.Duration
	// Children is how many may work at once; 2.
	Children int
	// Logger hears of children that fail; nil discards it.
	Logger *slog.Logger
}

// maxKills is how many directories of one job may pass the limits before the rest of it is given up: each has cost the
// time of its limit.
const maxKills = 8

// An Evaluator does jobs in children, which it starts when there is work. It is safe for concurrent use.
type Evaluator struct {
	options Options
	slots   chan struct{} // one for each child at work

	mu     sync.Mutex
	idle   []*process
	closed bool
	ended  sync.WaitGroup // of all processes
}

var _ schema.Evaluator = (*Evaluator)(nil)

// New makes an Evaluator, and starts nothing yet.
func New(o Options) (*Evaluator, error) {
	if len(o.Command) == 0 {
		return nil, errors.New("evaluator: there is no command that starts a child")
	}
	o.Path = cmp.Or(o.Path, o.Command[0])
	o.Time = cmp.Or(o.Time, 15*time.Second)
	o.Memory = cmp.Or(o.Memory, 1<<30)
	o.Idle = cmp.Or(o.Idle, 10*time.Second)
	o.Children = cmp.Or(o.Children, 2)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return &Evaluator{options: o, slots: make(chan struct{}, o.Children)}, nil
}

// Close ends the children, and waits for that.
func (e *Evaluator) Close() {
	e.mu.Lock()
	e.closed = true
	idle := e.idle
	e.idle = nil
	e.mu.Unlock()
	for _, p := range idle {
		p.end()
	}
	e.ended.Wait()
}

// Evaluate does a job in a child. The limits hold for each directory; one that passes them, or that breaks the child
// twice, yields the reason why it was given up.
func (e *Evaluator) Evaluate(ctx context.Context, tree fs.FS, job *schema.Job, done func(dir string, e *schema.Evaluation)) error {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	r := &run{evaluator: e, tree: tree, job: job, done: done, broken: map[string]int{}}
	left := job.Dirs
	for len(left) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.kills >= maxKills {
			for _, dir := range left {
				done(dir, schema.Failed(job, dir, fmt.Sprintf("is not evaluated: %d other directories passed the limits before it; mend those", r.kills), nil))
			}
			return nil
		}
		var err error
		if left, err = r.attempt(ctx, left); err != nil {
			return err
		}
	}
	return nil
}

// A run is one job, in as many attempts as it takes.
type run struct {
	evaluator *Evaluator
	tree      fs.FS
	job       *schema.Job
	done      func(dir string, e *schema.Evaluation)
	alone     bool           // directories are sent one by one, since together they failed
	broken    map[string]int // how often the child broke at a directory
	kills     int
}

// attempt sends directories to a child, and gives those that are still to do.
func (r *run) attempt(ctx context.Context, dirs []string) ([]string, error) {
	send, rest := dirs, []string(nil)
	if r.alone {
		send, rest = dirs[:1], dirs[1:]
	}
	p, err := r.evaluator.take()
	if err != nil {
		return nil, err
	}
	t := &talk{process: p, tree: r.tree, limits: r.evaluator.options, looked: map[string]bool{}}
	job := *r.job
	job.Dirs = send
	left, err := t.run(ctx, &job, r.done)
	if err == nil {
		r.evaluator.put(p)
		return append(left, rest...), nil
	}
	reason := p.kill(err)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.evaluator.options.Logger.Warn("an evaluation was given up", "dir", t.current, "reason", reason)
	return append(r.blame(t, left, err, reason), rest...), nil
}

// blame yields the failure of the directory that was being evaluated, and gives the others that are left.
func (r *run) blame(t *talk, left []string, err error, reason string) []string {
	at := t.current
	if at == "" {
		// Nothing was begun: what all share took the limits, or one of them did while they were loaded together.
		if len(left) > 1 {
			r.alone = true
			return left
		}
		at = left[0]
	}
	var limit *limitError
	looked := t.lookedAt()
	if !errors.As(err, &limit) {
		// It may not have been the directory's fault.
		if r.broken[at]++; r.broken[at] < 2 {
			return left
		}
		looked = nil
	} else {
		r.kills++
	}
	r.done(at, schema.Failed(r.job, at, reason, looked))
	var others []string
	for _, dir := range left {
		if dir != at {
			others = append(others, dir)
		}
	}
	return others
}

// take gives an idle child, or starts one.
func (e *Evaluator) take() (*process, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errors.New("evaluator: it is closed")
	}
	for len(e.idle) > 0 {
		p := e.idle[len(e.idle)-1]
		e.idle = e.idle[:len(e.idle)-1]
		p.retire.Stop()
		if p.alive() {
			return p, nil
		}
	}
	p, err := start(e.options, &e.ended)
	if err != nil {
		return nil, fmt.Errorf("evaluator: a child cannot be started: %w", err)
	}
	return p, nil
}

// put keeps a child for the next job, for a while.
func (e *Evaluator) put(p *process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		p.end()
		return
	}
	e.idle = append(e.idle, p)
	p.retire = time.AfterFunc(e.options.Idle, func() { e.dismiss(p) })
}

// dismiss ends a child that had nothing to do.
func (e *Evaluator) dismiss(p *process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, other := range e.idle {
		if other == p {
			e.idle = append(e.idle[:i], e.idle[i+1:]...)
			p.end()
			return
		}
	}
}
