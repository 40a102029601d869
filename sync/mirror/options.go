// Package mirror follows one ref of a Git repository and yields its commits as immutable snapshots.
//
// It keeps a bare copy of the ref's history in a directory of its own, so that what was once fetched can be read when
// the source is unreachable, rewritten or gone. Nothing is checked out: a snapshot is read straight from the objects.
// Hooks, submodules and symbolic links are never followed.
package mirror

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"headway.dev/headway/sync/internal/objects"
	"headway.dev/headway/sync/remote"
)

// Auth is what a server wants to see.
type Auth = remote.Auth

// Options say what to follow and where to keep it.
type Options struct {
	// URL is a path, or a URL of the schemes file, https and ssh. Required.
	URL string
	// Ref is the branch or tag to follow, by its short or its full name; a branch goes before a tag of the same name.
	// Empty follows the repository's HEAD.
	Ref string
	// Path is the directory within the repository that snapshots show; empty is the root.
	Path string
	// Dir is the directory of the bare copy. It is made if it is not there, and belongs to one Mirror of one process
	// at a time. Required.
	Dir string
	// Poll is how often to look when nothing tells of a change, give or take a tenth; 0 is 10 seconds.
	Poll time.Duration
	Auth Auth
	// Logger takes what is of interest to an operator; nil is none.
	Logger *slog.Logger
}

const (
	defaultPoll = 10 * time.Second
	minPoll     = 10 * time.Millisecond
)

// validate checks the options and fills in the defaults.
func (o *Options) validate() (remote.URL, error) {
	url, err := remote.Parse(o.URL)
	if err != nil {
		return url, err
	}
	if o.Dir == "" {
		return url, errors.New("no directory is named in which to keep the copy of the repository")
	}
	if o.Path, err = objects.CleanPath(o.Path); err != nil {
		return url, err
	}
	if o.Ref != "" {
		if err := plumbing.NewBranchReferenceName(o.Ref).Validate(); err != nil {
			return url, fmt.Errorf("%q cannot be the name of a branch or tag: %w", o.Ref, err)
		}
	}
	switch {
	case o.Poll == 0:
		o.Poll = defaultPoll
	case o.Poll < minPoll:
		return url, fmt.Errorf("polling every %s is too often: the least is %s", o.Poll, minPoll)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return url, nil
}
