package mirror

import (
	"context"
	"fmt"

	"headway.dev/headway/sync/internal/objects"
)

// A Local reads a repository on this machine in place, with all its branches. It is what commands use in a working copy.
type Local struct {
	layout objects.Layout
	view   view
}

// OpenLocal opens the repository that path lies in, as git finds it: at path or above it, bare, with a .git directory or
// as a linked worktree. Snapshots show the directory subpath of the repository; empty is the root.
func OpenLocal(path, subpath string) (*Local, error) {
	subpath, err := objects.CleanPath(subpath)
	if err != nil {
		return nil, err
	}
	layout, err := objects.Discover(path)
	if err != nil {
		return nil, err
	}
	store, err := layout.Open()
	if err != nil {
		return nil, err
	}
	l := &Local{layout: layout, view: view{store: store, path: subpath}}
	l.view.repository = l.Root()
	return l, nil
}

// Root is the directory of the working copy, or that of a bare repository.
func (l *Local) Root() string { return or(l.layout.Worktree, l.layout.GitDir) }

// At gives the snapshot of a revision: a branch, a tag, HEAD, a hash or the beginning of one, each with ~N and ^N for
// its ancestors.
func (l *Local) At(_ context.Context, rev string) (*Snapshot, error) {
	parsed, err := objects.ParseRevision(rev)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", l.Root(), err)
	}
	commit, ref, err := l.view.store.Resolve(parsed)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", l.Root(), err)
	}
	return l.view.revision(commit, ref, parsed)
}
