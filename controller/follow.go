package controller

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxParents is how far back in history the last good version of an object is looked for.
const maxParents = 50

// A follower compiles each new head and delivers what came of it. A newer head ends the work on an older one.
type follower struct {
	source   Source
	compiler Compiler
	log      *slog.Logger
	inbox    *inbox

	// began is whether a commit was delivered. Only the compilation that runs touches it, and one runs at a time.
	began bool
}

func newFollower(config Config, inbox *inbox) *follower {
	return &follower{source: config.Source, compiler: config.Compiler, log: config.Logger, inbox: inbox}
}

// run follows the repository until ctx is done.
func (f *follower) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	var (
		commit  string                // the head at work or in force
		abandon = func() {}           // ends the work on it
		idle    = make(chan struct{}) // closed when that work has ended
	)
	close(idle)
	group.Go(func() error {
		err := f.source.Run(ctx, func(u Update) {
			switch {
			case u.Err != nil:
				f.inbox.repository("the repository cannot be read: " + u.Err.Error() + "; what is in force stays")
				return
			case u.Snapshot.Revision().Commit == commit:
				f.inbox.repository("")
				return
			}
			abandon()
			before, done := idle, make(chan struct{})
			work, cancel := context.WithCancel(ctx)
			commit, abandon, idle = u.Snapshot.Revision().Commit, cancel, done
			group.Go(func() error {
				defer close(done)
				defer cancel()
				<-before
				f.deliver(work, u.Snapshot)
				return nil
			})
		})
		abandon()
		return ended(ctx, "the source", err)
	})
	return group.Wait()
}

// deliver compiles a commit and delivers what came of it, again and again until that works or a newer head ends it.
func (f *follower) deliver(ctx context.Context, snapshot Snapshot) {
	var wait backoff
	for ctx.Err() == nil {
		c, err := f.compile(ctx, snapshot)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			f.began = true
			f.inbox.commit(c)
			return
		}
		f.log.Warn("a commit could not be compiled; trying again", "commit", snapshot.Revision().Short(), "error", err)
		f.inbox.repository(fmt.Sprintf("commit %s cannot be compiled: %s; what is in force stays, and it is tried again", snapshot.Revision().Short(), err))
		select {
		case <-ctx.Done():
		case <-time.After(wait.next()):
		}
	}
}

// compile has a commit compiled. What it breaks or lacks is looked for in its ancestors if it is the first: after that, the state knows
// better what was in force.
func (f *follower) compile(ctx context.Context, snapshot Snapshot) (compiled, error) {
	result, err := f.compiler.Compile(ctx, snapshot.FS())
	if err != nil {
		return compiled{}, err
	}
	c := compiled{head: snapshot.Revision(), result: result}
	if !f.began && !c.stands() {
		c.ancestors, c.unread = f.ancestors(ctx, snapshot)
	}
	return c, nil
}

// ancestors compiles those of a snapshot, back to the last that evaluates and holds any objects. An error comes with what was
// found before it.
func (f *follower) ancestors(ctx context.Context, snapshot Snapshot) (found []compiled, err error) {
	for range maxParents {
		parent, err := snapshot.Parent(ctx)
		if err != nil {
			return found, fmt.Errorf("the parent of commit %s: %w", snapshot.Revision().Short(), err)
		}
		if parent == nil {
			break
		}
		c := compiled{head: parent.Revision()}
		if c.result, err = f.compiler.Compile(ctx, parent.FS()); err != nil {
			return found, fmt.Errorf("commit %s: %w", parent.Revision().Short(), err)
		}
		if found = append(found, c); c.stands() {
			break
		}
		snapshot = parent
	}
	return found, nil
}
