package revert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"headway.dev/headway/api"
	"headway.dev/headway/sync/history"
	"headway.dev/headway/sync/internal/objects"
	"headway.dev/headway/sync/remote"
)

// ErrConflict is the error of undoing what later commits have changed again.
var ErrConflict = errors.New("later commits changed the same files")

// Undo makes one commit on the branch that takes back what one earlier commit changed, whatever came after it, as git revert
// does file by file: a file that later commits changed again is an ErrConflict. Of a merge the changes against its first
// parent are taken back. What is taken back already is ErrNothing.
//
// Where the server refuses to move the branch and o.Proposal names another one, the commit goes there, for a person to merge;
// the revision's branch says where it is.
func Undo(ctx context.Context, o Options, commit string) (api.Revision, error) {
	return addCommit(ctx, o, "undoing commit "+api.ShortCommit(commit), func(in repository, o Options, head objects.Hash) (*object.Commit, error) {
		bad, err := in.resolve(ctx, commit)
		if err != nil {
			return nil, err
		}
		return undo(in.objects(), o, head, bad)
	})
}

// undo makes the commit, which nothing points to yet.
func undo(store *objects.Store, o Options, head, bad objects.Hash) (*object.Commit, error) {
	from, err := store.Commit(head)
	if err != nil {
		return nil, err
	}
	undone, err := store.Commit(bad)
	if err != nil {
		return nil, err
	}
	var before objects.Hash // of the first commit of all: nothing
	if len(undone.ParentHashes) > 0 {
		parent, err := store.Commit(undone.ParentHashes[0])
		if err != nil {
			return nil, err
		}
		before = parent.TreeHash
	}
	tree, err := takeBack(store, "", from.TreeHash, undone.TreeHash, before)
	if err != nil {
		return nil, err
	}
	if tree == from.TreeHash {
		return nil, fmt.Errorf("%w: what commit %s changed is taken back already", ErrNothing, bad)
	}
	made := &object.Commit{
		Author:       signature(o.Author, o.Time),
		Committer:    signature(o.Committer, o.Time),
		Message:      undoMessage(o.Message, undone),
		TreeHash:     tree,
		ParentHashes: []objects.Hash{head},
	}
	made.Hash, err = store.PutCommit(made)
	return made, err
}

// takeBack gives the tree that differs from head as before differs from changed. Zero is a directory that is not there.
func takeBack(store *objects.Store, dir string, head, changed, before objects.Hash) (objects.Hash, error) {
	var entries [3]map[string]objects.Entry
	names := map[string]bool{}
	for i, h := range []objects.Hash{head, changed, before} {
		entries[i] = map[string]objects.Entry{}
		if h.IsZero() {
			continue
		}
		tree, err := store.Tree(h)
		if err != nil {
			return objects.Hash{}, err
		}
		for _, e := range tree.Entries {
			entries[i][e.Name], names[e.Name] = e, true
		}
	}
	var kept []objects.Entry
	for name := range names {
		e, err := takeBackEntry(store, dir+name, entries[0][name], entries[1][name], entries[2][name])
		if err != nil {
			return objects.Hash{}, err
		}
		if !e.Hash.IsZero() {
			e.Name = name
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 && dir != "" {
		return objects.Hash{}, nil // Git knows no empty directories
	}
	return store.Put(plumbing.TreeObject, objects.EncodeTree(kept))
}

// takeBackEntry decides on one name: the entry at the head, after the change, and before it. A zero entry is none.
func takeBackEntry(store *objects.Store, path string, head, changed, before objects.Entry) (objects.Entry, error) {
	same := func(a, b objects.Entry) bool { return a.Hash == b.Hash && a.Mode == b.Mode }
	isTree := func(e objects.Entry) bool { return e.IsDir() || e.Hash.IsZero() }
	switch {
	case same(changed, before), same(head, before):
		return head, nil
	case same(head, changed):
		return before, nil
	case isTree(head) && isTree(changed) && isTree(before):
		h, err := takeBack(store, path+"/", head.Hash, changed.Hash, before.Hash)
		return objects.Entry{Mode: filemode.Dir, Hash: h}, err
	}
	return objects.Entry{}, fmt.Errorf("%w: %s", ErrConflict, path)
}

// undoMessage says what was undone, in the words that git itself uses for it.
func undoMessage(extra string, undone *object.Commit) string {
	added := history.ParseMessage("Subject\n\n" + extra)
	var out strings.Builder
	fmt.Fprintf(&out, "Revert %q\n\nThis reverts commit %s.\n", history.ParseMessage(undone.Message).Subject, undone.Hash)
	if added.Body != "" {
		fmt.Fprintf(&out, "\n%s\n", added.Body)
	}
	if len(added.Trailers) > 0 {
		out.WriteByte('\n')
	}
	for _, t := range added.Trailers {
		fmt.Fprintln(&out, t)
	}
	return out.String()
}

// A proposer can put a commit on a branch of its own, where a person finds it.
type proposer interface {
	propose(ctx context.Context, branch plumbing.ReferenceName, base, commit objects.Hash) error
}

func (s *server) propose(ctx context.Context, branch plumbing.ReferenceName, base, commit objects.Hash) error {
	return s.client.Push(ctx, branch, objects.Hash{}, commit, func(w io.Writer) error {
		return s.objects().WritePack(ctx, w, commit, base)
	})
}

// propose puts the commit beside a branch that may not be moved; refused is why.
func propose(ctx context.Context, in repository, o Options, base, commit objects.Hash, refused error) (plumbing.ReferenceName, error) {
	p, ok := in.(proposer)
	if !ok || o.Proposal == "" || !errors.Is(refused, remote.ErrRejected) {
		return "", refused
	}
	branch := plumbing.NewBranchReferenceName(o.Proposal)
	if err := p.propose(ctx, branch, base, commit); err != nil && !errors.Is(err, ErrMoved) { // moved: it is proposed already
		return "", errors.Join(refused, err)
	}
	return branch, nil
}
