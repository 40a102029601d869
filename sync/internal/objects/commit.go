package objects

import (
	"context"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"headway.dev/headway/api"
)

// Describe tells a commit as the rest of headway knows it. The branch is left open.
func Describe(c *object.Commit) api.Revision {
	return api.Revision{
		Commit:    c.Hash.String(),
		Author:    person(c.Author),
		Committer: person(c.Committer),
		Time:      c.Committer.When.UTC(),
		Message:   c.Message,
	}
}

func person(s object.Signature) string { return fmt.Sprintf("%s <%s>", s.Name, s.Email) }

// PutCommit adds a commit. Its tree and parents must be there already.
func (s *Store) PutCommit(c *object.Commit) (Hash, error) {
	o := &plumbing.MemoryObject{}
	if err := c.Encode(o); err != nil {
		return Hash{}, err
	}
	return o.Hash(), s.put(o)
}

// WritePack writes what a repository lacks of a commit that has the commits in have.
func (s *Store) WritePack(ctx context.Context, out io.Writer, root Hash, have ...Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := walk{ctx: ctx, src: s.sto, has: func(Hash) bool { return false }, seen: map[Hash]bool{}}
	for _, h := range have {
		w.seen[h] = true
	}
	if err := w.history(root); err != nil {
		return err
	}
	return encodePack(out, s.sto, w.order)
}

// Graft gives the tree that has entry at path, in the form of io/fs, and is otherwise like root. The entry's name is
// taken from the path. At "." it is the entry's own tree.
func (s *Store) Graft(root Hash, path string, entry Entry) (Hash, error) {
	if path == "." {
		return entry.Hash, nil
	}
	return s.graft(root, splitPath(path), entry)
}

func (s *Store) graft(root Hash, path []string, entry Entry) (Hash, error) {
	tree := new(Tree)
	if !root.IsZero() {
		var err error
		if tree, err = s.Tree(root); err != nil {
			return Hash{}, err
		}
	}
	entries := make([]Entry, 0, len(tree.Entries)+1)
	var below Hash // the directory that is there now
	for _, e := range tree.Entries {
		switch {
		case e.Name != path[0]:
			entries = append(entries, e)
		case e.IsDir():
			below = e.Hash
		}
	}
	if len(path) > 1 {
		h, err := s.graft(below, path[1:], entry)
		if err != nil {
			return Hash{}, err
		}
		entry = directory(h)
	}
	entry.Name = path[0]
	return s.Put(plumbing.TreeObject, EncodeTree(append(entries, entry)))
}
