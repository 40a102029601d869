// Package revert takes a branch back to the state of an earlier commit, or takes back what one commit did, by making a new
// commit: history is never rewritten, and the rollback can itself be rolled back.
package revert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"headway.dev/headway/api"
	"headway.dev/headway/sync/history"
	"headway.dev/headway/sync/internal/objects"
	"headway.dev/headway/sync/remote"
)

// A Person makes commits.
type Person struct{ Name, Email string }

// Options say what is to be rolled back, and by whom.
type Options struct {
	// URL is a path, or a URL of the schemes file, https and ssh. A path may lead to a working copy: if it has the
	// branch checked out, its files follow, for which the git program is needed. Required.
	URL string
	// Ref is the branch, by its short or full name; empty is the one that HEAD is on.
	Ref string
	// Path is the directory that is rolled back, with all below it; empty is the whole repository.
	Path string
	Auth remote.Auth
	// Author made the decision. Required.
	Author Person
	// Committer wrote it down; the zero value is the author.
	Committer Person
	// Time is the commit's. Required.
	Time time.Time
	// Message is added to the commit's message. Trailers at its end join the trailers of the rollback.
	Message string
	// Proposal is the branch on which the commit is put where the server refuses to move Ref; empty is none. Only Undo uses it.
	Proposal string
}

// Errors by what the caller does next.
var (
	// ErrNothing: the branch has the files of that commit already.
	ErrNothing = errors.New("there is nothing to roll back")
	// ErrDirty: the working copy has changes that are not committed.
	ErrDirty = errors.New("the working copy has changes that are not committed: commit or stash them")
	// ErrMoved: the branch moved again and again while the rollback was made.
	ErrMoved = remote.ErrMoved
)

// attempts bounds how often a rollback begins anew because the branch has moved.
const attempts = 5

func (o *Options) validate() (remote.URL, error) {
	url, err := remote.Parse(o.URL)
	if err != nil {
		return url, err
	}
	if o.Path, err = objects.CleanPath(o.Path); err != nil {
		return url, err
	}
	if o.Committer == (Person{}) {
		o.Committer = o.Author
	}
	for _, p := range []Person{o.Author, o.Committer} {
		if p.Name == "" || p.Email == "" || strings.ContainsAny(p.Name+p.Email, "<>\n\r\x00") {
			return url, fmt.Errorf("%q <%s> cannot make a commit: name and address must be there, without <, > and line breaks", p.Name, p.Email)
		}
	}
	if o.Time.IsZero() {
		return url, errors.New("the commit needs a time")
	}
	return url, nil
}

// To makes one commit on the branch, whose tree at o.Path is that of the target and is otherwise unchanged, and moves the
// branch to it, on the server if the repository is behind a URL. The branch is only ever moved forward; if it moves
// meanwhile, the commit is made anew on its new head.
//
// The target is a revision: a hash or the beginning of one, a tag, HEAD~2.
func To(ctx context.Context, o Options, target string) (api.Revision, error) {
	return addCommit(ctx, o, "rollback to "+target, func(in repository, o Options, head objects.Hash) (*object.Commit, error) {
		wanted, err := in.resolve(ctx, target)
		if err != nil {
			return nil, err
		}
		return commit(in.objects(), o, head, wanted)
	})
}

// addCommit makes a commit for the head of the branch and moves the branch to it, and begins anew where that moves meanwhile.
func addCommit(ctx context.Context, o Options, what string, produce producer) (api.Revision, error) {
	url, err := o.validate()
	if err != nil {
		return api.Revision{}, fmt.Errorf("%s: %w", what, err)
	}
	var in repository
	if path, ok := url.Local(); ok {
		in, err = openLocal(path, o.Ref)
	} else {
		in, err = openServer(ctx, url, o)
	}
	if err != nil {
		return api.Revision{}, fmt.Errorf("%s in %s: %w", what, url, err)
	}
	defer in.close()
	for range attempts {
		var made api.Revision
		if made, err = attempt(ctx, in, o, produce); !errors.Is(err, ErrMoved) {
			if err != nil {
				err = fmt.Errorf("%s in %s: %w", what, url, err)
			}
			return made, err
		}
	}
	return api.Revision{}, fmt.Errorf("%s in %s: given up after %d attempts: %w", what, url, attempts, err)
}

// A repository is where the commit is made.
type repository interface {
	// head brings the branch up to date and gives its name and commit.
	head(ctx context.Context) (branch plumbing.ReferenceName, head objects.Hash, err error)
	// resolve finds the commit of a revision.
	resolve(ctx context.Context, rev string) (objects.Hash, error)
	objects() *objects.Store
	// publish moves the branch from one commit to a later one, or fails with ErrMoved if it is elsewhere.
	publish(ctx context.Context, branch plumbing.ReferenceName, from, to objects.Hash) error
	close()
}

// A producer makes the commit that is to follow a head. Nothing points to it yet.
type producer func(in repository, o Options, head objects.Hash) (*object.Commit, error)

func attempt(ctx context.Context, in repository, o Options, produce producer) (api.Revision, error) {
	branch, head, err := in.head(ctx)
	if err != nil {
		return api.Revision{}, err
	}
	made, err := produce(in, o, head)
	if err != nil {
		return api.Revision{}, err
	}
	if err := in.publish(ctx, branch, head, made.Hash); err != nil {
		if branch, err = propose(ctx, in, o, head, made.Hash, err); err != nil {
			return api.Revision{}, err
		}
	}
	revision := objects.Describe(made)
	revision.Branch = branch.Short()
	return revision, nil
}

// commit makes the commit, which nothing points to yet.
func commit(store *objects.Store, o Options, head, target objects.Hash) (*object.Commit, error) {
	from, err := store.Commit(head)
	if err != nil {
		return nil, err
	}
	to, err := store.Commit(target)
	if err != nil {
		return nil, err
	}
	wanted, err := store.Lookup(to.TreeHash, o.Path)
	if err == nil && !wanted.IsDir() {
		err = errors.New("it is not a directory")
	}
	if err != nil {
		return nil, fmt.Errorf("directory %s at commit %s: %w", o.Path, target, err)
	}
	present, err := store.Lookup(from.TreeHash, o.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if present.Hash == wanted.Hash {
		return nil, fmt.Errorf("%w: the files of commit %s are those of %s", ErrNothing, head, target)
	}
	tree, err := store.Graft(from.TreeHash, o.Path, wanted)
	if err != nil {
		return nil, err
	}
	made := &object.Commit{
		Author:       signature(o.Author, o.Time),
		Committer:    signature(o.Committer, o.Time),
		Message:      message(o.Message, from, to),
		TreeHash:     tree,
		ParentHashes: []objects.Hash{head},
	}
	made.Hash, err = store.PutCommit(made)
	return made, err
}

func signature(p Person, at time.Time) object.Signature {
	return object.Signature{Name: p.Name, Email: p.Email, When: at}
}

// message says what was done, for people and, in its trailers, for headway history.
func message(extra string, from, to *object.Commit) string {
	added := history.ParseMessage("Subject\n\n" + extra)
	trailers := slices.Concat(added.Trailers, []history.Trailer{
		{Key: history.TrailerRollbackTo, Value: to.Hash.String()},
		{Key: history.TrailerRollbackFrom, Value: from.Hash.String()},
	})
	var out strings.Builder
	fmt.Fprintf(&out, "Revert to %s (%s)\n\n", api.ShortCommit(to.Hash.String()), history.ParseMessage(to.Message).Subject)
	if added.Body != "" {
		fmt.Fprintf(&out, "%s\n\n", added.Body)
	}
	for _, t := range trailers {
		fmt.Fprintln(&out, t)
	}
	return out.String()
}
