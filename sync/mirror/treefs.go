package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"headway.dev/headway/sync/internal/objects"
)

// ErrNotFollowed is an attempt to open a symbolic link or a submodule.
var ErrNotFollowed = errors.New("symbolic links and submodules are not followed: commit the file itself")

var (
	errNotDirectory = errors.New("it is not a directory")
	errIsDirectory  = errors.New("it is a directory")
)

// maxFile is the size in bytes of the largest file that is read.
const maxFile = 32 << 20

// treeFS is a file system over the tree objects of one commit.
type treeFS struct {
	store *objects.Store
	root  objects.Hash
	time  time.Time // of the commit, given for every file
}

var (
	_ fs.ReadDirFS  = (*treeFS)(nil)
	_ fs.ReadFileFS = (*treeFS)(nil)
	_ fs.StatFS     = (*treeFS)(nil)
	_ fs.SubFS      = (*treeFS)(nil)
)

func (t *treeFS) lookup(op, name string) (objects.Entry, error) {
	if !fs.ValidPath(name) {
		return objects.Entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	e, err := t.store.Lookup(t.root, name)
	if err != nil {
		return e, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return e, nil
}

// Open opens a file or directory.
func (t *treeFS) Open(name string) (fs.File, error) {
	e, err := t.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if e.IsDir() {
		entries, err := t.list("open", name, e)
		if err != nil {
			return nil, err
		}
		return &openDir{info: t.info(e, 0), entries: entries}, nil
	}
	content, err := t.read("open", name, e)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: bytes.NewReader(content), info: t.info(e, int64(len(content)))}, nil
}

// ReadFile reads a file.
func (t *treeFS) ReadFile(name string) ([]byte, error) {
	e, err := t.lookup("read", name)
	if err != nil {
		return nil, err
	}
	return t.read("read", name, e)
}

func (t *treeFS) read(op, name string, e objects.Entry) ([]byte, error) {
	err := ErrNotFollowed
	var content []byte
	switch {
	case e.IsDir():
		err = errIsDirectory
	case e.IsFile():
		content, err = t.store.Blob(e.Hash, maxFile)
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return content, nil
}

// ReadDir lists a directory, ordered by name.
func (t *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.lookup("readdir", name)
	if err != nil {
		return nil, err
	}
	return t.list("readdir", name, e)
}

func (t *treeFS) list(op, name string, dir objects.Entry) ([]fs.DirEntry, error) {
	if !dir.IsDir() {
		return nil, &fs.PathError{Op: op, Path: name, Err: errNotDirectory}
	}
	tree, err := t.store.Tree(dir.Hash)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	entries := make([]fs.DirEntry, len(tree.Entries))
	for i, e := range tree.Entries {
		entries[i] = dirEntry{fs: t, path: path.Join(name, e.Name), entry: e}
	}
	return entries, nil
}

// Stat describes a file, directory, symbolic link or submodule.
func (t *treeFS) Stat(name string) (fs.FileInfo, error) {
	e, err := t.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return t.stat(name, e)
}

func (t *treeFS) stat(name string, e objects.Entry) (fs.FileInfo, error) {
	var size int64
	if e.Mode.IsFile() {
		var err error
		if size, err = t.store.Size(e.Hash); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
	}
	return t.info(e, size), nil
}

// Sub shows a directory below.
func (t *treeFS) Sub(dir string) (fs.FS, error) {
	e, err := t.lookup("sub", dir)
	if err != nil {
		return nil, err
	}
	if !e.IsDir() {
		return nil, &fs.PathError{Op: "sub", Path: dir, Err: errNotDirectory}
	}
	return &treeFS{store: t.store, root: e.Hash, time: t.time}, nil
}

// Hash names the content of a file or directory. It is false for what cannot be read.
func (t *treeFS) Hash(name string) (string, bool) {
	e, err := t.lookup("hash", name)
	if err != nil || !e.IsDir() && !e.IsFile() {
		return "", false
	}
	return e.Hash.String(), true
}

func (t *treeFS) info(e objects.Entry, size int64) fileInfo {
	return fileInfo{name: e.Name, size: size, mode: modeOf(e), time: t.time}
}

func modeOf(e objects.Entry) fs.FileMode {
	switch e.Mode {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Executable:
		return 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular | 0o444
	}
	return 0o444
}

type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
	time time.Time
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return i.time }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }
func (i fileInfo) String() string     { return fs.FormatFileInfo(i) }

type dirEntry struct {
	fs    *treeFS
	path  string
	entry objects.Entry
}

func (d dirEntry) Name() string               { return d.entry.Name }
func (d dirEntry) IsDir() bool                { return d.entry.IsDir() }
func (d dirEntry) Type() fs.FileMode          { return modeOf(d.entry).Type() }
func (d dirEntry) Info() (fs.FileInfo, error) { return d.fs.stat(d.path, d.entry) }
func (d dirEntry) String() string             { return fs.FormatDirEntry(d) }

type openFile struct {
	*bytes.Reader
	info fileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info    fileInfo
	entries []fs.DirEntry // not yet read
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errIsDirectory}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.entries)
	} else if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	read := d.entries[:n:n]
	d.entries = d.entries[n:]
	return read, nil
}

var _ fmt.Stringer = fileInfo{}
