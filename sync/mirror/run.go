package mirror

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"
)

// An Update is a new commit of the ref followed, or why there is none. Exactly one of its fields is set.
type Update struct {
	Snapshot *Snapshot
	Err      error
}

// firstLook is how long the first look at the source may keep a commit waiting that is known from before.
const firstLook = time.Second

// Run follows the ref until ctx is done, and returns ctx's error. It calls fn at once with the last commit known: the
// source's own, or the copy's if the source does not answer within a second. Then it calls fn for each new head that it
// finds, for each error when it begins or turns into another one, and when an error or a damage of the copy is over, even
// if the head is the same. fn is called by one goroutine; while it works, heads that are replaced meanwhile are passed over.
func (m *Mirror) Run(ctx context.Context, fn func(Update)) error {
	defer m.Close()
	changes := m.watch(ctx)
	defer changes.close()
	f := follower{m: m, fn: fn}
	again := f.first(ctx)
	for ctx.Err() == nil {
		if !again {
			m.await(ctx, changes.c)
		}
		again = false
		if ctx.Err() == nil {
			changes.refresh()
			f.tell(ctx)
		}
	}
	return ctx.Err()
}

// await returns when it is time to look.
func (m *Mirror) await(ctx context.Context, changes <-chan struct{}) {
	poll := time.NewTimer(m.o.Poll - m.o.Poll/10 + rand.N(m.o.Poll/5+1))
	defer poll.Stop()
	select {
	case <-ctx.Done():
	case <-m.wake:
	case <-changes:
	case <-poll.C:
	}
}

// A follower remembers what it told.
type follower struct {
	m    *Mirror
	fn   func(Update)
	last string // the commit told last
	err  error  // the error that holds

	resets int64 // of the copy, when the commit was told
}

// first tells the last commit known. It reports whether to look again at once.
func (f *follower) first(ctx context.Context) (again bool) {
	known, err := f.m.known()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.m.o.Logger.Warn("the commit known last cannot be read", "error", err)
		}
		return true
	}
	soon, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	head, err := f.m.look(soon)
	switch {
	case ctx.Err() != nil:
		return false
	case err == nil:
		f.update(head, nil)
		return false
	}
	f.update(known, nil)
	if soon.Err() != nil {
		return true // it had too little time to call that an error
	}
	f.update(nil, err)
	return false
}

// tell looks and tells what is new.
func (f *follower) tell(ctx context.Context) {
	head, err := f.m.look(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil && f.m.store.Damaged() {
		// The damage showed itself in this look: the next one begins with an empty copy.
		head, err = f.m.look(ctx)
	}
	f.update(head, err)
}

func (f *follower) update(head *Snapshot, err error) {
	log := f.m.o.Logger
	resets := f.m.resets.Load()
	switch {
	case err != nil && same(err, f.err):
		log.Debug("still no commit", "error", err)
	case err != nil:
		f.err = err
		log.Warn("no commit", "error", err)
		f.fn(Update{Err: err})
	case f.err != nil || head.Revision.Commit != f.last || resets != f.resets:
		f.err, f.last, f.resets = nil, head.Revision.Commit, resets
		log.Info("commit", "commit", head.Revision.Short(), "branch", head.Revision.Branch)
		f.fn(Update{Snapshot: head})
	}
}
