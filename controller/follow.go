package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"headway.dev/headway/api"
)

// maxParents is how far back in history the last good version of an object is looked for.
const maxParents = 50

// A follower compiles each new head and delivers what is to be in force. A newer head ends the work on an older one.
type follower struct {
	source   Source
	compiler Compiler
	log      *slog.Logger
	inbox    *inbox

	// inForce is the newest outcome. Only the compilation that runs touches it, and one runs at a time.
	inForce *outcome
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

// deliver compiles a commit and delivers its outcome, again and again until that works or a newer head ends it.
func (f *follower) deliver(ctx context.Context, snapshot Snapshot) {
	var wait backoff
	for ctx.Err() == nil {
		o, err := f.outcome(ctx, snapshot)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			f.inForce = &o
			f.inbox.commit(o)
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

// outcome finds what is to be in force now that the snapshot is the newest.
func (f *follower) outcome(ctx context.Context, snapshot Snapshot) (outcome, error) {
	result, err := f.compiler.Compile(ctx, snapshot.FS())
	if err != nil {
		return outcome{}, err
	}
	if f.inForce != nil {
		result = result.After(f.inForce.objects)
	}
	o := outcome{head: snapshot.Revision(), objects: result.Objects, problems: result.Problems, whole: result.Complete}
	if o.whole && len(o.objects) > 0 {
		return o, nil
	}
	var earlier []api.Object
	if f.inForce != nil {
		earlier, o.gaps = f.inForce.objects, f.inForce.gaps
	} else if earlier, o.gaps, err = f.lastGood(ctx, snapshot); err != nil {
		// What is not in the objects is left alone, since the commit is not whole: too little is known, and no harm done.
		o.whole = false
		o.problems = append(slices.Clip(o.problems), api.Problem{Message: "the last good version of what this commit breaks or lacks was not found: " + err.Error()})
	}
	if o.whole && len(earlier) > 0 {
		o.whole = false
		o.problems = append(slices.Clip(o.problems), api.Problem{Message: "the commit holds no objects at all, which deletes nothing: " +
			"is it the right branch and path? To delete everything that ran, leave one object, such as a Namespace"})
	}
	o.objects = fillIn(o.objects, earlier)
	return o, nil
}

// lastGood gathers from the ancestors of a snapshot the last good version of each object, back to the last commit that
// evaluates and holds any. There are gaps if no such commit was found. An error comes with what was found before it.
func (f *follower) lastGood(ctx context.Context, snapshot Snapshot) (found []api.Object, gaps bool, err error) {
	for range maxParents {
		parent, err := snapshot.Parent(ctx)
		if err != nil {
			return found, true, fmt.Errorf("the parent of commit %s: %w", snapshot.Revision().Short(), err)
		}
		if parent == nil {
			break
		}
		result, err := f.compiler.Compile(ctx, parent.FS())
		if err != nil {
			return found, true, fmt.Errorf("commit %s: %w", parent.Revision().Short(), err)
		}
		found = fillIn(found, result.Objects)
		if result.Complete && len(result.Objects) > 0 {
			return found, false, nil
		}
		snapshot = parent
	}
	return found, true, nil
}
