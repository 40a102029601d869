// Package objects reads and writes Git's object stores: commits, trees and blobs by their hash, revisions by their
// name. A Store may be used by many goroutines at once, which the library under it does not allow.
package objects

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Hash names an object by its content.
type Hash = plumbing.Hash

// ErrNotFound is an object, reference or revision that the store does not hold.
var ErrNotFound = errors.New("not found")

// ErrDamaged is an object that is there but cannot be what its hash says.
var ErrDamaged = errors.New("damaged")

// A Store reads one repository's objects and references.
type Store struct {
	dir string

	mu  sync.Mutex // guards all of storage, which keeps indexes and caches without locks of its own
	sto *filesystem.Storage

	trees   treeCache
	damaged atomic.Bool
}

// Dir is the directory that holds the objects and references.
func (s *Store) Dir() string { return s.dir }

// Damaged reports whether an object was met that is missing or broken, though the store should hold it whole.
func (s *Store) Damaged() bool { return s.damaged.Load() }

// Commit reads a commit.
func (s *Store) Commit(h Hash) (*object.Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, err := s.read(plumbing.CommitObject, h)
	if err != nil {
		return nil, err
	}
	c, err := decodeCommit(raw)
	if err != nil {
		return nil, s.broken(err)
	}
	return c, nil
}

func decodeCommit(raw plumbing.EncodedObject) (*object.Commit, error) {
	c := new(object.Commit)
	if err := c.Decode(raw); err != nil {
		return nil, fmt.Errorf("commit %s: %w: %w", raw.Hash(), ErrDamaged, err)
	}
	return c, nil
}

// Tree reads a directory. It is shared with other callers and must not be changed.
func (s *Store) Tree(h Hash) (*Tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.trees.get(h); ok {
		return t, nil
	}
	raw, err := s.read(plumbing.TreeObject, h)
	if err != nil {
		return nil, err
	}
	content, err := contentOf(raw)
	if err != nil {
		return nil, s.broken(fmt.Errorf("tree %s: %w: %w", h, ErrDamaged, err))
	}
	t, err := decodeTree(content)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	s.trees.put(h, t)
	return t, nil
}

// Blob reads a file's content, unless it is larger than limit bytes. The caller owns what it returns.
func (s *Store) Blob(h Hash, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, err := s.read(plumbing.BlobObject, h)
	if err != nil {
		return nil, err
	}
	if raw.Size() > limit {
		return nil, fmt.Errorf("it has %d bytes, and the largest file that is read has %d", raw.Size(), limit)
	}
	content, err := contentOf(raw)
	if err != nil {
		return nil, s.broken(fmt.Errorf("blob %s: %w: %w", h, ErrDamaged, err))
	}
	return content, nil
}

// Size is the length of a blob in bytes.
func (s *Store) Size(h Hash) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, err := s.sto.EncodedObjectSize(h)
	if missing(err) {
		s.sto.Reindex()
		size, err = s.sto.EncodedObjectSize(h)
	}
	if err != nil {
		return 0, s.broken(objectError(plumbing.BlobObject, h, err))
	}
	return size, nil
}

// Has reports whether the store holds the object, without reading it.
func (s *Store) Has(h Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sto.HasEncodedObject(h) == nil
}

// Peel follows annotated tags to the commit that they name.
func (s *Store) Peel(h Hash) (Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peel(h)
}

func (s *Store) peel(h Hash) (Hash, error) {
	for range maxTagDepth {
		raw, err := s.read(plumbing.AnyObject, h)
		if err != nil {
			return Hash{}, err
		}
		switch raw.Type() {
		case plumbing.CommitObject:
			return h, nil
		case plumbing.TagObject:
			t := new(object.Tag)
			if err := t.Decode(raw); err != nil {
				return Hash{}, s.broken(fmt.Errorf("tag %s: %w: %w", h, ErrDamaged, err))
			}
			h = t.Target
		default:
			return Hash{}, fmt.Errorf("%s is a %s and not a commit", h, raw.Type())
		}
	}
	return Hash{}, fmt.Errorf("%s is a tag of a tag, more than %d deep", h, maxTagDepth)
}

const maxTagDepth = 8

// Shallow lists the commits whose parents the repository has cut off.
func (s *Store) Shallow() ([]Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sto.Shallow()
}

// read fetches an object and proves it against its hash. s.mu is held.
func (s *Store) read(t plumbing.ObjectType, h Hash) (plumbing.EncodedObject, error) {
	raw, err := s.sto.EncodedObject(t, h)
	if err != nil {
		// Git may have moved the object from a file of its own into a pack since the index was read.
		s.sto.Reindex()
		raw, err = s.sto.EncodedObject(t, h)
	}
	if err != nil {
		return nil, s.broken(objectError(t, h, err))
	}
	if got := raw.Hash(); got != h {
		return nil, s.broken(fmt.Errorf("%s %s: %w: its content has the hash %s", raw.Type(), h, ErrDamaged, got))
	}
	return raw, nil
}

// broken notes that the store has a fault.
func (s *Store) broken(err error) error {
	s.damaged.Store(true)
	return err
}

func objectError(t plumbing.ObjectType, h Hash, err error) error {
	kind := "object"
	if t != plumbing.AnyObject {
		kind = t.String()
	}
	if missing(err) {
		return fmt.Errorf("%s %s: %w", kind, h, ErrNotFound)
	}
	return fmt.Errorf("%s %s: %w: %w", kind, h, ErrDamaged, err)
}

func missing(err error) bool {
	return errors.Is(err, plumbing.ErrObjectNotFound) || errors.Is(err, fs.ErrNotExist)
}

func contentOf(raw plumbing.EncodedObject) ([]byte, error) {
	r, err := raw.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var content bytes.Buffer
	if size := raw.Size(); size > 0 && size < maxHint {
		content.Grow(int(size))
	}
	if _, err := io.Copy(&content, r); err != nil {
		return nil, err
	}
	if int64(content.Len()) != raw.Size() {
		return nil, fmt.Errorf("it has %d bytes where its header says %d", content.Len(), raw.Size())
	}
	return content.Bytes(), nil
}

// maxHint bounds the room that is set aside on the word of a header.
const maxHint = 64 << 20

// ParseHash reads a hash of 40 hexadecimal digits.
func ParseHash(s string) Hash { return plumbing.NewHash(s) }
