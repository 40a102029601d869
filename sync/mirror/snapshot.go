package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-git/go-git/v5/plumbing"

	"headway.dev/headway/api"
	"headway.dev/headway/sync/internal/objects"
)

// A Snapshot is the immutable tree of one commit. It may be used by many goroutines at once.
type Snapshot struct {
	Revision api.Revision

	view view
	root objects.Hash // of the directory that the snapshot shows
}

// A view makes snapshots of one directory of a repository.
type view struct {
	store      *objects.Store
	path       string
	repository string
}

// snapshot makes the snapshot of a commit. That the directory is not there is an error: it is not an empty snapshot.
func (v view) snapshot(commit objects.Hash, branch string) (*Snapshot, error) {
	c, err := v.store.Commit(commit)
	if err != nil {
		return nil, err
	}
	dir, err := v.store.Lookup(c.TreeHash, v.path)
	if err == nil && !dir.IsDir() {
		err = errNotDirectory
	}
	if err == nil {
		_, err = v.store.Tree(dir.Hash)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDirectory) {
		return nil, &Error{Problem: NoPath, Repository: v.repository, Ref: branch, Path: v.path, Commit: commit.String(), Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	s := &Snapshot{Revision: objects.Describe(c), view: v, root: dir.Hash}
	s.Revision.Branch = branch
	return s, nil
}

// revision makes the snapshot of a revision expression that was resolved.
func (v view) revision(commit objects.Hash, ref plumbing.ReferenceName, parsed objects.Revision) (*Snapshot, error) {
	if len(parsed.Steps) > 0 {
		ref = "" // it is an ancestor of the branch, which is elsewhere
	}
	return v.snapshot(commit, branchName(ref))
}

// FS shows the snapshot's directory. It supports reading files and directories and Stat, and has a method
// Hash(path string) (string, bool), which names the content of a file or directory: equal hashes, equal content.
//
// Symbolic links and submodules are listed with their type (fs.ModeSymlink, fs.ModeIrregular); opening one is an error
// that wraps ErrNotFollowed. Files are read as a whole, up to 32 MiB.
func (s *Snapshot) FS() fs.FS {
	return &treeFS{store: s.view.store, root: s.root, time: s.Revision.Time}
}

// Path is the directory within the repository that the snapshot shows; "." is the root.
func (s *Snapshot) Path() string { return s.view.path }

// Hash names the content of the whole snapshot.
func (s *Snapshot) Hash() string { return s.root.String() }

// Parent is the snapshot of the commit's first parent. A commit without one is an fs.ErrNotExist; a parent that has no
// such directory is an *Error.
func (s *Snapshot) Parent(_ context.Context) (*Snapshot, error) {
	parents, err := s.view.store.Parents(s.Commit())
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", s.Revision.Commit, err)
	}
	if len(parents) == 0 {
		return nil, fmt.Errorf("parent of commit %s: %w", s.Revision.Commit, fs.ErrNotExist)
	}
	return s.view.snapshot(parents[0], s.Revision.Branch)
}

// Objects gives the packages beside this one the store that the snapshot is read from.
func (s *Snapshot) Objects() *objects.Store { return s.view.store }

// Commit gives the packages beside this one the commit's hash.
func (s *Snapshot) Commit() objects.Hash { return objects.ParseHash(s.Revision.Commit) }
