package history

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"headway.dev/headway/sync/internal/objects"
	"headway.dev/headway/sync/mirror"
)

// A Kind is what happened to a file.
type Kind string

// The kinds of change.
const (
	Added    Kind = "added"
	Modified Kind = "modified" // its content or its mode
	Deleted  Kind = "deleted"
)

// A Change is one file that differs between two commits. A moved file is one deleted and one added.
type Change struct {
	Path string `json:"path"` // within the directory that the snapshots show
	Kind Kind   `json:"kind"`
}

// Changes lists the files that differ between two snapshots of one repository, ordered by path.
func Changes(from, to *mirror.Snapshot) ([]Change, error) {
	return changes(to.Objects(), objects.ParseHash(from.Hash()), objects.ParseHash(to.Hash()))
}

// changes compares two trees; a zero hash is an empty one. It reads only the directories whose hashes differ, which makes
// it as cheap as the change is small, however large the repository.
func changes(store *objects.Store, from, to objects.Hash) ([]Change, error) {
	c := comparison{store: store}
	if err := c.trees("", from, to); err != nil {
		return nil, err
	}
	slices.SortFunc(c.changes, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return c.changes, nil
}

type comparison struct {
	store   *objects.Store
	changes []Change
}

func (c *comparison) trees(dir string, from, to objects.Hash) error {
	if from == to {
		return nil
	}
	before, err := c.entries(dir, from)
	if err != nil {
		return err
	}
	after, err := c.entries(dir, to)
	if err != nil {
		return err
	}
	// Both are ordered by name: walk them side by side.
	for len(before) > 0 || len(after) > 0 {
		var old, now objects.Entry
		if len(after) == 0 || len(before) > 0 && before[0].Name <= after[0].Name {
			old = before[0]
		}
		if len(before) == 0 || len(after) > 0 && after[0].Name <= before[0].Name {
			now = after[0]
		}
		if old.Name != "" {
			before = before[1:]
		}
		if now.Name != "" {
			after = after[1:]
		}
		if err := c.entry(path.Join(dir, cmp.Or(old.Name, now.Name)), old, now); err != nil {
			return err
		}
	}
	return nil
}

// entry compares what one name meant before and means now; an entry without a name is none.
func (c *comparison) entry(name string, old, now objects.Entry) error {
	if old.Hash == now.Hash && old.Mode == now.Mode {
		return nil
	}
	var oldDir, newDir objects.Hash
	if old.IsDir() {
		oldDir = old.Hash
	}
	if now.IsDir() {
		newDir = now.Hash
	}
	wasFile, isFile := old.Name != "" && !old.IsDir(), now.Name != "" && !now.IsDir()
	switch {
	case wasFile && isFile:
		c.changes = append(c.changes, Change{name, Modified})
	case wasFile:
		c.changes = append(c.changes, Change{name, Deleted})
	case isFile:
		c.changes = append(c.changes, Change{name, Added})
	}
	return c.trees(name, oldDir, newDir)
}

func (c *comparison) entries(dir string, h objects.Hash) ([]objects.Entry, error) {
	if h.IsZero() {
		return nil, nil
	}
	t, err := c.store.Tree(h)
	if err != nil {
		return nil, fmt.Errorf("directory %q: %w", dir, err)
	}
	return t.Entries, nil
}
