package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-git/go-git/v5/plumbing/object"

	"headway.dev/headway/api"
	"headway.dev/headway/sync/internal/objects"
	"headway.dev/headway/sync/mirror"
)

// An Entry is one commit of the log.
type Entry struct {
	Revision api.Revision `json:"revision"`
	Subject  string       `json:"subject"`
	Trailers []Trailer    `json:"trailers,omitempty"`
	// Files are those that the commit changed in the directory that is shown; of a merge, all that it brought in.
	Files []Change `json:"files,omitempty"`
	// Reverts is the commit that git revert took back with this one.
	Reverts string `json:"reverts,omitempty"`
	// RollbackTo and RollbackFrom are set on the commits that headway rollback makes.
	RollbackTo   string `json:"rollbackTo,omitempty"`
	RollbackFrom string `json:"rollbackFrom,omitempty"`
}

// Log lists the commits that led to a snapshot, newest first, at most limit of them; 0 is all. It follows first parents:
// those are the states in which the branch was, one after the other. Commits that only changed what lies outside the
// snapshot's directory are left out; those that changed nothing at all are kept, since they were made for their message.
func Log(ctx context.Context, s *mirror.Snapshot, limit int) ([]Entry, error) {
	w := walk{store: s.Objects(), branch: s.Revision.Branch}
	var log []Entry
	for at := s.Commit(); !at.IsZero() && (limit == 0 || len(log) < limit); {
		if err := ctx.Err(); err != nil {
			return log, err
		}
		c, first, err := w.commit(at)
		if err != nil {
			return log, err
		}
		files, silent, err := w.changed(s.Path(), c, first)
		if err != nil {
			return log, fmt.Errorf("commit %s: %w", at, err)
		}
		if !silent {
			log = append(log, w.entry(c, files))
		}
		at = objects.Hash{}
		if first != nil {
			at = first.Hash
		}
	}
	return log, nil
}

// LastChange finds the commit that gave a file or directory of the snapshot the content that it has: the one to ask why.
// Through merges it finds the commit on the branch that was merged, as git log does. For a path that is no longer there
// it is the commit that deleted it; one that never was there is an fs.ErrNotExist.
func LastChange(ctx context.Context, s *mirror.Snapshot, name string) (Entry, error) {
	if !fs.ValidPath(name) {
		return Entry{}, &fs.PathError{Op: "history", Path: name, Err: fs.ErrInvalid}
	}
	full := path.Join(s.Path(), name)
	w := walk{store: s.Objects(), branch: s.Revision.Branch}
	at, err := w.store.Commit(s.Commit())
	if err != nil {
		return Entry{}, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return Entry{}, err
		}
		same, first, err := w.unchanged(at, full)
		if err != nil {
			return Entry{}, fmt.Errorf("commit %s: %w", at.Hash, err)
		}
		if same != nil {
			at = same
			continue
		}
		now, err := w.find(at, full)
		if err != nil {
			return Entry{}, err
		}
		if first == nil && now.Hash.IsZero() {
			return Entry{}, &fs.PathError{Op: "history", Path: full, Err: fs.ErrNotExist}
		}
		files, _, err := w.changed(s.Path(), at, first)
		return w.entry(at, files), err
	}
}

// A walk goes back through the commits of one store.
type walk struct {
	store  *objects.Store
	branch string
}

// commit reads a commit and its first parent, nil if it has none.
func (w walk) commit(h objects.Hash) (c, first *object.Commit, err error) {
	if c, err = w.store.Commit(h); err != nil {
		return nil, nil, err
	}
	parents, err := w.store.Parents(h)
	if err != nil || len(parents) == 0 {
		return c, nil, err
	}
	first, err = w.store.Commit(parents[0])
	return c, first, err
}

// changed lists what a commit changed in a directory. It is silent if it changed only what lies outside.
func (w walk) changed(dir string, c, first *object.Commit) (files []Change, silent bool, err error) {
	now, err := w.directory(c, dir)
	if err != nil {
		return nil, false, err
	}
	var before, wholeBefore objects.Hash
	if first != nil {
		wholeBefore = first.TreeHash
		if before, err = w.directory(first, dir); err != nil {
			return nil, false, err
		}
	}
	if now == before {
		return nil, c.TreeHash != wholeBefore, nil
	}
	files, err = changes(w.store, before, now)
	return files, false, err
}

// unchanged gives a parent in which the path is what it is in the commit, if there is one, and the first parent.
func (w walk) unchanged(c *object.Commit, full string) (same, first *object.Commit, err error) {
	now, err := w.find(c, full)
	if err != nil {
		return nil, nil, err
	}
	parents, err := w.store.Parents(c.Hash)
	if err != nil {
		return nil, nil, err
	}
	for i, h := range parents {
		p, err := w.store.Commit(h)
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			first = p
		}
		before, err := w.find(p, full)
		if err != nil {
			return nil, nil, err
		}
		if before.Hash == now.Hash && before.Mode == now.Mode {
			return p, first, nil
		}
	}
	return nil, first, nil
}

// find is the entry at a path, zero if there is none.
func (w walk) find(c *object.Commit, full string) (objects.Entry, error) {
	e, err := w.store.Lookup(c.TreeHash, full)
	if errors.Is(err, fs.ErrNotExist) {
		return objects.Entry{}, nil
	}
	return e, err
}

// directory is the hash of a directory, zero if there is none.
func (w walk) directory(c *object.Commit, dir string) (objects.Hash, error) {
	e, err := w.find(c, dir)
	if err != nil || !e.IsDir() {
		return objects.Hash{}, err
	}
	return e.Hash, nil
}

func (w walk) entry(c *object.Commit, files []Change) Entry {
	m := ParseMessage(c.Message)
	e := Entry{
		Revision:     objects.Describe(c),
		Subject:      m.Subject,
		Trailers:     m.Trailers,
		Files:        files,
		Reverts:      m.Reverts(),
		RollbackTo:   m.commit(TrailerRollbackTo),
		RollbackFrom: m.commit(TrailerRollbackFrom),
	}
	e.Revision.Branch = w.branch
	return e
}
