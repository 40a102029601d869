package schema

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"headway.dev/headway/api"
)

// maxFile is the largest manifest that is read, in bytes.
const maxFile = 10 << 20

// A hasher is a tree that knows a key for the content of each file and directory, as Git does.
type hasher interface {
	Hash(path string) (string, bool)
}

// A listing is the manifests of a tree.
type listing struct {
	fsys     fs.FS
	hasher   hasher   // nil if the tree has none
	data     []string // YAML and JSON files
	cue      []string
	modules  []string // directories that hold a cue.mod
	problems []api.Problem

	dirs map[string]*listedDir // by their paths
}

// A listedDir is what a directory held when it was listed.
type listedDir struct {
	path     string
	data     []string
	cue      []string
	module   bool // it holds a cue.mod
	problems []api.Problem
	dirs     []*listedDir
	files    map[string]*listedFile // the data files by path; nil if the tree has no hashes
	// partial reports that a directory could not be read, this one or one below: it may be readable next time.
	partial bool
	used    atomic.Uint64 // the newest generation that asked for it
}

// A listedFile is a data file with the key of its content. As long as its directory stays the same, its result is at
// hand here, without a look into the cache.
type listedFile struct {
	key  string
	kept atomic.Pointer[keptFile]
}

// A lister lists a tree. Directories whose hash an earlier listing met are not read again.
type lister struct {
	listing *listing
	cache   *cache
}

// listFiles finds the manifests: files that end in .yaml, .yml, .json or .cue. Directories that start with a dot or an
// underscore are left out, and so are cue.mod and testdata. Links are not followed.
func listFiles(ctx context.Context, fsys fs.FS, known *cache, generation uint64) (*listing, error) {
	l := &listing{fsys: fsys, dirs: map[string]*listedDir{}}
	l.hasher, _ = fsys.(hasher)
	r := lister{l, known}
	root, err := r.list(ctx, ".")
	if err != nil {
		return nil, fmt.Errorf("schema: the tree cannot be listed: %w", err)
	}
	l.add(root, generation)
	return l, nil
}

// list reads a directory and those below it. The error is of ctx, or of reading the root.
func (r *lister) list(ctx context.Context, dir string) (*listedDir, error) {
	hash, hashed := "", false
	if r.listing.hasher != nil {
		hash, hashed = r.listing.hasher.Hash(dir)
	}
	if hashed {
		if d, ok := r.cache.listed(dir, hash); ok {
			return d, nil
		}
	}
	d := &listedDir{path: dir}
	entries, err := fs.ReadDir(r.listing.fsys, dir)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err != nil {
		if dir == "." || errors.Is(err, context.Canceled) {
			return nil, err
		}
		d.partial = true
		d.problem(dir, false, "cannot be read: %v", err)
		return d, nil
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if !e.IsDir() {
			d.file(r.listing.fsys, name, e)
			continue
		}
		d.module = d.module || e.Name() == "cue.mod"
		if skipDir(e.Name()) {
			continue
		}
		below, err := r.list(ctx, name)
		if err != nil {
			return nil, err
		}
		d.dirs = append(d.dirs, below)
		d.partial = d.partial || below.partial
	}
	if hashed && !d.partial {
		d.keys(r.listing.hasher)
		r.cache.keepListed(dir, hash, d)
	}
	return d, nil
}

func skipDir(base string) bool {
	return base[0] == '.' || base[0] == '_' || base == "cue.mod" || base == "testdata"
}

func (d *listedDir) file(fsys fs.FS, name string, e fs.DirEntry) {
	ext := path.Ext(name)
	manifest := slices.Contains([]string{".yaml", ".yml", ".json", ".cue"}, ext) || isKustomization(name)
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		d.link(fsys, name, manifest)
	case template.MatchString(name):
		d.problem(name, true, "is a template and is not read: %s", noTemplates)
	case !manifest:
	case !e.Type().IsRegular():
		d.problem(name, false, "is no file: commit the manifest itself")
	case ext == ".cue":
		base := path.Base(name)
		// CUE leaves these out too.
		if base[0] != '.' && base[0] != '_' && !strings.HasSuffix(base, "_tool.cue") && !strings.HasSuffix(base, "_test.cue") {
			d.cue = append(d.cue, name)
		}
	default:
		d.data = append(d.data, name)
	}
}

// template matches the names of manifests that are to be rendered first.
var template = regexp.MustCompile(`\.(ya?ml|json)\.(tmpl|tpl|gotmpl|template|j2|jinja2?|erb|mustache|envsubst)$`)

// link tells of a link. One in place of a manifest is an error, since what it leads to would be missing; one to a
// directory may well lead to manifests that nobody expects to be read.
func (d *listedDir) link(fsys fs.FS, name string, manifest bool) {
	if manifest {
		d.problem(name, false, "is a symbolic link, which is not followed: commit the file itself")
		return
	}
	info, err := fs.Stat(fsys, name)
	// A tree of Git does not say what a link leads to; files have extensions.
	if err == nil && (info.IsDir() || info.Mode()&fs.ModeSymlink != 0 && path.Ext(name) == "") {
		d.problem(name, true, "is a symbolic link, which is not followed: manifests that it leads to are read only where they lie, if that is in the tree")
	}
}

func (d *listedDir) problem(name string, warning bool, format string, args ...any) {
	d.problems = append(d.problems, api.Problem{Source: api.Position{File: name}, Message: fmt.Sprintf(format, args...), Warning: warning})
}

// keys looks up the keys of the data files.
func (d *listedDir) keys(h hasher) {
	d.files = make(map[string]*listedFile, len(d.data))
	for _, name := range d.data {
		if key, ok := h.Hash(name); ok {
			d.files[name] = &listedFile{key: key}
		}
	}
}

// add takes a directory into the listing, with those below it.
func (l *listing) add(d *listedDir, generation uint64) {
	raise(&d.used, generation)
	l.dirs[d.path] = d
	l.data = append(l.data, d.data...)
	l.cue = append(l.cue, d.cue...)
	l.problems = append(l.problems, d.problems...)
	if d.module {
		l.modules = append(l.modules, d.path)
	}
	for _, below := range d.dirs {
		l.add(below, generation)
	}
}

// file finds a data file of a tree with hashes; nil if there is none.
func (l *listing) file(name string) *listedFile {
	dir := "."
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir = name[:i]
	}
	d := l.dirs[dir]
	if d == nil {
		return nil
	}
	return d.files[name]
}

// key gives the key of a file's content, and the content if it had to be read for it.
func (l *listing) key(name string) (key string, data []byte, err error) {
	if l.hasher != nil {
		if key, ok := l.hasher.Hash(name); ok {
			return key, nil, nil
		}
	}
	data, err = l.read(name)
	if err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), data, nil
}

// read reads a file that is not too large.
func (l *listing) read(name string) ([]byte, error) {
	info, err := fs.Stat(l.fsys, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("it has %d bytes, and a manifest may have %d", info.Size(), maxFile)
	}
	return fs.ReadFile(l.fsys, name)
}
