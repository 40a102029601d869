package objects

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"
)

// looseLimit is how many objects are stored as files of their own; more go into one pack, as git does from 100 on.
const looseLimit = 256

// An encodedStore is where objects are copied from.
type encodedStore interface {
	storer.EncodedObjectStorer
	Shallow() ([]Hash, error)
}

// CopyFrom copies a commit (or a tag of one) with its whole history out of another store. Of what is copied each object
// comes after all that it names, so that wherever this stops, an object that is here has all below it.
func (s *Store) CopyFrom(ctx context.Context, src *Store, root Hash) error {
	src.mu.Lock()
	defer src.mu.Unlock()
	err := s.copyFrom(ctx, src.sto, root)
	if errors.Is(err, ErrNotFound) {
		// Git may have packed the source's objects meanwhile.
		src.sto.Reindex()
		err = s.copyFrom(ctx, src.sto, root)
	}
	return err
}

func (s *Store) copyFrom(ctx context.Context, src encodedStore, root Hash) error {
	cut, err := src.Shallow()
	if err != nil {
		return err
	}
	w := walk{ctx: ctx, src: src, has: s.Has, cut: cut, seen: map[Hash]bool{}}
	if err := w.history(root); err != nil {
		return err
	}
	if len(w.order) > looseLimit {
		err = s.addPack(func(out io.Writer) error { return encodePack(out, src, w.order) })
	} else {
		err = s.copyLoose(ctx, src, w.order)
	}
	if err != nil {
		return err
	}
	return s.addShallow(w.cutHere)
}

// encodePack writes objects as a pack, without looking for similar ones to save room: that would take longer than the
// copy itself.
func encodePack(out io.Writer, src storer.EncodedObjectStorer, order []Hash) error {
	_, err := packfile.NewEncoder(out, src, false).Encode(order, 0)
	return err
}

func (s *Store) copyLoose(ctx context.Context, src encodedStore, order []Hash) error {
	for _, h := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		o, err := src.EncodedObject(plumbing.AnyObject, h)
		if err != nil {
			return objectError(plumbing.AnyObject, h, err)
		}
		if o.Hash() != h {
			return fmt.Errorf("%s %s of the source: %w", o.Type(), h, ErrDamaged)
		}
		if err := s.put(o); err != nil {
			return err
		}
	}
	return nil
}

// addShallow notes commits whose parents the source lacks.
func (s *Store) addShallow(cut []Hash) error {
	if len(cut) == 0 {
		return nil
	}
	known, err := s.Shallow()
	if err != nil {
		return err
	}
	all := map[string]bool{}
	for _, h := range append(known, cut...) {
		all[h.String()+"\n"] = true
	}
	return WriteFile(filepath.Join(s.dir, "shallow"), []byte(strings.Join(slices.Sorted(maps.Keys(all)), "")))
}

// AddStream stores a pack that a server sent for a commit (or a tag of one). have are commits, held with their whole
// history, that the server knew of.
func (s *Store) AddStream(ctx context.Context, r io.Reader, root Hash, have []Hash) error {
	in := bufio.NewReaderSize(r, 64<<10)
	header, err := in.Peek(12)
	if err != nil {
		return fmt.Errorf("the server sent no pack: %w", err)
	}
	if binary.BigEndian.Uint32(header[8:]) > looseLimit {
		return s.addLargeStream(ctx, in, root, have)
	}
	// A small one is taken apart in memory and copied in order, like that of any other source.
	received := memory.NewStorage()
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(in), received)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(); err != nil {
		return err
	}
	return s.copyFrom(ctx, stacked{received, s}, root)
}

// addLargeStream stores the pack as it is, and then proves that nothing is missing from it: a server that left objects
// out is found here and not when the files are read.
func (s *Store) addLargeStream(ctx context.Context, r io.Reader, root Hash, have []Hash) error {
	before, err := s.packs()
	if err != nil {
		return err
	}
	err = s.addPack(func(out io.Writer) error {
		_, err := io.Copy(out, r)
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := walk{ctx: ctx, src: s.sto, has: func(Hash) bool { return false }, seen: map[Hash]bool{}}
	for _, h := range have {
		w.seen[h] = true
	}
	if err := w.history(root); err != nil {
		return errors.Join(fmt.Errorf("the server sent an incomplete pack: %w", err), s.dropPacksExcept(before))
	}
	return nil
}

func (s *Store) packs() ([]string, error) {
	return filepath.Glob(filepath.Join(s.dir, "objects", "pack", "pack-*"))
}

func (s *Store) dropPacksExcept(keep []string) error {
	now, err := s.packs()
	if err != nil {
		return err
	}
	for _, file := range now {
		if !slices.Contains(keep, file) {
			err = errors.Join(err, os.Remove(file))
		}
	}
	s.sto.Reindex()
	return err
}

// stacked reads what was received, and below it what is already stored.
type stacked struct {
	*memory.Storage
	below *Store
}

func (t stacked) EncodedObject(kind plumbing.ObjectType, h Hash) (plumbing.EncodedObject, error) {
	o, err := t.Storage.EncodedObject(kind, h)
	if !errors.Is(err, plumbing.ErrObjectNotFound) {
		return o, err
	}
	t.below.mu.Lock()
	defer t.below.mu.Unlock()
	return t.below.sto.EncodedObject(kind, h)
}

// A walk lists what is missing of a history.
type walk struct {
	ctx     context.Context // of the one call that the walk is for
	src     encodedStore
	has     func(Hash) bool
	cut     []Hash // commits of the source without parents
	cutHere []Hash // those of them that were listed
	seen    map[Hash]bool
	order   []Hash // each after all that it names
}

// history lists a commit, or a tag, and all before it. It keeps its own stack: histories are long.
func (w *walk) history(root Hash) error {
	type step struct {
		hash, tree Hash
		base       Hash // the tree of the first parent
		open       bool
	}
	for stack := []step{{hash: root}}; len(stack) > 0; {
		top := &stack[len(stack)-1]
		if top.open {
			if err := w.close(top.hash, top.tree, top.base); err != nil {
				return err
			}
			stack = stack[:len(stack)-1]
			continue
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if w.known(top.hash) {
			stack = stack[:len(stack)-1]
			continue
		}
		top.open = true
		o, err := w.read(plumbing.AnyObject, top.hash)
		if err != nil {
			return err
		}
		switch o.Type() {
		case plumbing.TagObject:
			var t object.Tag
			if err := t.Decode(o); err != nil {
				return fmt.Errorf("tag %s: %w", top.hash, err)
			}
			stack = append(stack, step{hash: t.Target})
		case plumbing.CommitObject:
			c, err := decodeCommit(o)
			if err != nil {
				return err
			}
			top.tree = c.TreeHash
			if slices.Contains(w.cut, top.hash) {
				w.cutHere = append(w.cutHere, top.hash)
				continue
			}
			if len(c.ParentHashes) > 0 {
				top.base = w.treeOf(c.ParentHashes[0])
			}
			for _, p := range c.ParentHashes {
				stack = append(stack, step{hash: p})
			}
		default:
			return fmt.Errorf("%s is a %s and not a commit", top.hash, o.Type())
		}
	}
	return nil
}

// close lists an object of the history whose predecessors are listed.
func (w *walk) close(h, tree, base Hash) error {
	if !tree.IsZero() {
		if err := w.tree(tree, base); err != nil {
			return fmt.Errorf("commit %s: %w", h, err)
		}
	}
	w.order = append(w.order, h)
	return nil
}

// tree lists a directory, and what is below it, where it differs from the base: the same directory of a commit that is
// listed or stored. Comparing with it spares a look into the store for each of the thousands of files that stayed.
// Submodules are left out: their commits belong to other repositories.
func (w *walk) tree(h, base Hash) error {
	if h == base || w.known(h) {
		return nil
	}
	t, err := w.readTree(h)
	if err != nil {
		return err
	}
	before := new(Tree)
	if !base.IsZero() {
		// A base that cannot be read only costs time.
		if b, err := w.readTree(base); err == nil {
			before = b
		}
	}
	for _, e := range t.Entries {
		old, _ := before.Entry(e.Name)
		switch {
		case e.Hash == old.Hash && e.IsDir() == old.IsDir():
		case e.IsDir():
			if !old.IsDir() {
				old.Hash = Hash{}
			}
			if err := w.tree(e.Hash, old.Hash); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		case e.Mode.IsFile() && !w.known(e.Hash):
			if err := w.src.HasEncodedObject(e.Hash); err != nil {
				if _, err := w.read(plumbing.BlobObject, e.Hash); err != nil {
					return fmt.Errorf("%s: %w", e.Name, err)
				}
			}
			w.order = append(w.order, e.Hash)
		}
	}
	w.order = append(w.order, h)
	return nil
}

// known reports whether the object needs no listing, and takes note of it.
func (w *walk) known(h Hash) bool {
	if w.seen[h] {
		return true
	}
	w.seen[h] = true
	return w.has(h)
}

func (w *walk) treeOf(commit Hash) Hash {
	o, err := w.read(plumbing.CommitObject, commit)
	if err != nil {
		return Hash{}
	}
	c, err := decodeCommit(o)
	if err != nil {
		return Hash{}
	}
	return c.TreeHash
}

func (w *walk) readTree(h Hash) (*Tree, error) {
	o, err := w.read(plumbing.TreeObject, h)
	if err != nil {
		return nil, err
	}
	content, err := contentOf(o)
	if err != nil {
		return nil, err
	}
	return decodeTree(content)
}

func (w *walk) read(t plumbing.ObjectType, h Hash) (plumbing.EncodedObject, error) {
	o, err := w.src.EncodedObject(t, h)
	if err != nil {
		return nil, objectError(t, h, err)
	}
	return o, nil
}
