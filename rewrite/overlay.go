package rewrite

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// An overlay is a tree in which some files are gone, and others have come.
type overlay struct {
	fs.FS
	gone map[string]bool
	come map[string][]byte
}

func (im *Import) overlay(fsys fs.FS) fs.FS {
	o := overlay{FS: fsys, gone: map[string]bool{}, come: map[string][]byte{}}
	for _, f := range im.Files {
		o.gone[f.From], o.come[f.To] = true, f.Data
	}
	return o
}

// Open opens a file, or a directory as it was: ReadDir lists it as it is.
func (o overlay) Open(name string) (fs.File, error) {
	if data, ok := o.come[name]; ok {
		return &memoryFile{newEntry(name, data), bytes.NewReader(data)}, nil
	}
	if o.gone[name] {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return o.FS.Open(name)
}

// ReadDir lists a directory.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.FS, name)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		p := path.Join(name, e.Name())
		_, come := o.come[p]
		return come || o.gone[p]
	})
	for p, data := range o.come {
		if path.Dir(p) == name {
			entries = append(entries, newEntry(p, data))
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// An entry says what there is to say of a file that has come.
type entry struct {
	name string
	size int64
}

func newEntry(name string, data []byte) entry { return entry{path.Base(name), int64(len(data))} }

func (e entry) Name() string               { return e.name }
func (e entry) Size() int64                { return e.size }
func (e entry) Mode() fs.FileMode          { return 0o444 }
func (e entry) Type() fs.FileMode          { return 0 }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) IsDir() bool                { return false }
func (e entry) Sys() any                   { return nil }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }

type memoryFile struct {
	entry
	io.Reader
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.entry, nil }
func (f *memoryFile) Close() error               { return nil }
