package schema

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// builtinDir is where the CUE of a tree finds this package's definitions.
const builtinDir = "cue.mod/pkg/headway.dev/headway/schema"

// noModule is the cue.mod/module.cue of a tree that has none.
const noModule = "module: \"headway.invalid/tree@v0\"\nlanguage: version: \"v0.9.0\"\n"

// A cueFS is a module as CUE's loader sees it: the tree below the module's root, with what headway adds: a module.cue
// where there is none, and the definitions of this package.
type cueFS struct {
	tree  fs.FS
	extra map[string][]byte // files by path
}

func newCUEFS(tree fs.FS, root string) (*cueFS, error) {
	sub, err := fs.Sub(tree, root)
	if err != nil {
		return nil, err
	}
	f := &cueFS{tree: sub, extra: map[string][]byte{}}
	if _, err := fs.Stat(sub, "cue.mod/module.cue"); errors.Is(err, fs.ErrNotExist) {
		f.extra["cue.mod/module.cue"] = []byte(noModule)
	}
	if _, err := fs.Stat(sub, builtinDir); !errors.Is(err, fs.ErrNotExist) {
		return f, nil // the tree has vendored them
	}
	names, err := fs.Glob(definitions, "*.cue")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if f.extra[path.Join(builtinDir, name)], err = definitions.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Open opens a file or a directory.
func (f *cueFS) Open(name string) (fs.File, error) {
	file, err := f.tree.Open(name)
	if err == nil {
		return f.bounded(name, file)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if data, ok := f.extra[name]; ok {
		return &extraFile{Reader: strings.NewReader(string(data)), info: extraInfo{path.Base(name), int64(len(data))}}, nil
	}
	if len(f.extraIn(name)) > 0 {
		return &extraFile{Reader: strings.NewReader(""), info: extraInfo{path.Base(name), -1}}, nil
	}
	return nil, err
}

// bounded refuses a file that is larger than a manifest may be.
func (f *cueFS) bounded(name string, file fs.File) (fs.File, error) {
	info, err := file.Stat()
	if err == nil && !info.IsDir() && info.Size() > maxFile {
		err = fmt.Errorf("%s has %d bytes, and a manifest may have %d", name, info.Size(), maxFile)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// ReadDir lists a directory, without the links in it.
func (f *cueFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.tree, name)
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Type()&fs.ModeSymlink != 0 })
	extra := f.extraIn(name)
	if len(extra) == 0 {
		return entries, err
	}
	for _, e := range extra {
		if !slices.ContainsFunc(entries, func(have fs.DirEntry) bool { return have.Name() == e.Name() }) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// extraIn lists what headway adds to a directory.
func (f *cueFS) extraIn(dir string) []fs.DirEntry {
	var entries []fs.DirEntry
	for name, data := range f.extra {
		rest := name
		if dir != "." {
			var ok bool
			if rest, ok = strings.CutPrefix(name, dir+"/"); !ok {
				continue
			}
		}
		first, _, below := strings.Cut(rest, "/")
		info := extraInfo{first, int64(len(data))}
		if below {
			info.size = -1
		}
		if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == first }) {
			entries = append(entries, fs.FileInfoToDirEntry(info))
		}
	}
	return entries
}

// An extraFile is a file, or a directory, that headway adds.
type extraFile struct {
	io.Reader
	info extraInfo
}

func (f *extraFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (*extraFile) Close() error                 { return nil }

// extraInfo describes it; a directory has a negative size.
type extraInfo struct {
	name string
	size int64
}

func (i extraInfo) Name() string     { return i.name }
func (i extraInfo) Size() int64      { return max(0, i.size) }
func (extraInfo) ModTime() time.Time { return time.Time{} }
func (i extraInfo) IsDir() bool      { return i.size < 0 }
func (extraInfo) Sys() any           { return nil }
func (i extraInfo) Mode() fs.FileMode {
	if i.IsDir() {
		return fs.ModeDir | 0o555
	}
	return 0o444
}
