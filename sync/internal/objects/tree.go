package objects

import (
	"bytes"
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// An Entry is one name in a directory.
type Entry struct {
	Name string
	Mode filemode.FileMode
	Hash Hash
}

// IsDir reports whether the entry is a directory.
func (e Entry) IsDir() bool { return e.Mode == filemode.Dir }

// IsFile reports whether the entry is a file with content of its own: neither directory, symbolic link nor submodule.
func (e Entry) IsFile() bool {
	return e.Mode == filemode.Regular || e.Mode == filemode.Executable || e.Mode == filemode.Deprecated
}

// A Tree is a directory: its entries ordered by name, each name once.
type Tree struct{ Entries []Entry }

// Entry finds a name.
func (t *Tree) Entry(name string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(t.Entries, name, func(e Entry, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return Entry{}, false
	}
	return t.Entries[i], true
}

// errMalformed is a tree that Git would not have written. A repository's author controls these bytes, so every name is
// one plain element of a path, and no name comes twice.
var errMalformed = errors.New("malformed tree")

const hashSize = len(Hash{})

func decodeTree(data []byte) (*Tree, error) {
	entries := make([]Entry, 0, len(data)/40)
	for len(data) > 0 {
		space, end := bytes.IndexByte(data, ' '), bytes.IndexByte(data, 0)
		if space < 0 || end < space || len(data)-end-1 < hashSize {
			return nil, fmt.Errorf("%w: it ends within an entry", errMalformed)
		}
		mode, err := parseMode(string(data[:space]))
		if err != nil {
			return nil, err
		}
		e := Entry{Name: string(data[space+1 : end]), Mode: mode}
		if !plainName(e.Name) {
			return nil, fmt.Errorf("%w: the name %q", errMalformed, e.Name)
		}
		copy(e.Hash[:], data[end+1:])
		entries = append(entries, e)
		data = data[end+1+hashSize:]
	}
	// Git orders directories as if their names ended in a slash.
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(entries); i++ {
		if entries[i].Name == entries[i-1].Name {
			return nil, fmt.Errorf("%w: the name %q comes twice", errMalformed, entries[i].Name)
		}
	}
	return &Tree{Entries: entries}, nil
}

func plainName(name string) bool {
	return name != "." && fs.ValidPath(name) && !strings.Contains(name, "/")
}

func parseMode(s string) (filemode.FileMode, error) {
	mode, err := filemode.New(s)
	if err != nil {
		return 0, fmt.Errorf("%w: the mode %q", errMalformed, s)
	}
	switch mode {
	case filemode.Dir, filemode.Regular, filemode.Deprecated, filemode.Executable, filemode.Symlink, filemode.Submodule:
		return mode, nil
	}
	return 0, fmt.Errorf("%w: the mode %q", errMalformed, s)
}

// EncodeTree gives the bytes of a tree object with these entries.
func EncodeTree(entries []Entry) []byte {
	key := func(e Entry) string {
		if e.IsDir() {
			return e.Name + "/"
		}
		return e.Name
	}
	entries = slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return strings.Compare(key(a), key(b)) })
	var out bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&out, "%o %s\x00", uint32(e.Mode), e.Name)
		out.Write(e.Hash[:])
	}
	return out.Bytes()
}

func directory(h Hash) Entry { return Entry{Mode: filemode.Dir, Hash: h} }

func splitPath(path string) []string { return strings.Split(path, "/") }

// Lookup finds a path, in the form of io/fs, below a tree. What is not there is an fs.ErrNotExist.
func (s *Store) Lookup(root Hash, name string) (Entry, error) {
	found := directory(root)
	found.Name = "."
	if name == "." {
		return found, nil
	}
	for _, element := range splitPath(name) {
		if !found.IsDir() {
			return Entry{}, fs.ErrNotExist
		}
		t, err := s.Tree(found.Hash)
		if err != nil {
			return Entry{}, err
		}
		var ok bool
		if found, ok = t.Entry(element); !ok {
			return Entry{}, fs.ErrNotExist
		}
	}
	return found, nil
}

// CleanPath brings a path within a repository into the form of io/fs; empty is the root. A path that leads out of the
// repository is refused.
func CleanPath(p string) (string, error) {
	if strings.ContainsRune(p, 0) || strings.Contains(p, `\`) || path.IsAbs(p) || slices.Contains(strings.Split(p, "/"), "..") {
		return "", fmt.Errorf("the path %q: write a path within the repository, with slashes and without .. or a leading slash", p)
	}
	p = path.Clean(p)
	if !fs.ValidPath(p) {
		return "", fmt.Errorf("the path %q is not valid UTF-8", p)
	}
	return p, nil
}

// treeCache keeps the trees read last, bounded by the number of their entries. The zero value is ready.
type treeCache struct {
	byHash map[Hash]*list.Element
	recent list.List // of cachedTree, the last used in front
	size   int
}

type cachedTree struct {
	hash Hash
	tree *Tree
}

// maxCachedEntries is about six megabytes.
const maxCachedEntries = 64 << 10

func (c *treeCache) get(h Hash) (*Tree, bool) {
	e, ok := c.byHash[h]
	if !ok {
		return nil, false
	}
	c.recent.MoveToFront(e)
	return e.Value.(cachedTree).tree, true
}

func (c *treeCache) put(h Hash, t *Tree) {
	if c.byHash == nil {
		c.byHash = map[Hash]*list.Element{}
	}
	c.byHash[h] = c.recent.PushFront(cachedTree{h, t})
	for c.size += len(t.Entries) + 1; c.size > maxCachedEntries && c.recent.Len() > 1; {
		last := c.recent.Remove(c.recent.Back()).(cachedTree)
		delete(c.byHash, last.hash)
		c.size -= len(last.tree.Entries) + 1
	}
}

func (c *treeCache) clear() { *c = treeCache{} }
