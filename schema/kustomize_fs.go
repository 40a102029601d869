package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// kustomizeRoot is where kustomize finds the tree. What lies outside of it is on no disk, and refused by name.
const kustomizeRoot = "/headway.invalid/tree"

// The ways of looking at a path, as Evaluation.read has them before the path.
const (
	lookedAt = "?" // what it is: a file, a directory, or nothing
	contents = "=" // the content of a file
	listed   = "/" // the names in a directory
)

var (
	errOutside  = errors.New("it lies outside of the tree")
	errLink     = errors.New("it is a link, which is not followed: commit the file itself")
	errReadOnly = errors.New("the tree cannot be written")
)

// A kustomizeFS shows a tree to kustomize, and notes what is looked at.
type kustomizeFS struct {
	l     *listing
	kinds map[string]fs.FileMode
	read  map[string]bool
	// replaced is read in the place of a file.
	replaced map[string][]byte
}

var _ filesys.FileSystem = (*kustomizeFS)(nil)

// inTree gives the path in the tree; false if it is outside.
func (*kustomizeFS) inTree(name string) (string, bool) {
	name = path.Clean(filepath.ToSlash(name))
	if !path.IsAbs(name) {
		return "", false
	}
	if name == kustomizeRoot {
		return ".", true
	}
	return strings.CutPrefix(name, kustomizeRoot+"/")
}

// missing is the mode of what is not there.
const missing = fs.ModeIrregular

// mode tells what a path is, without following links.
func (f *kustomizeFS) mode(name string) fs.FileMode {
	f.read[lookedAt+name] = true
	return modeOf(f.l.fsys, f.kinds, name)
}

// modeOf looks a path up component by component, so that no link is followed on the way. What lies below a link counts
// as that link.
func modeOf(tree fs.FS, known map[string]fs.FileMode, name string) fs.FileMode {
	if name == "." {
		return fs.ModeDir
	}
	if m, ok := known[name]; ok {
		return m
	}
	m := modeOf(tree, known, path.Dir(name))
	switch {
	case m == fs.ModeDir:
		info, err := fs.Lstat(tree, name)
		if err != nil {
			m = missing
		} else {
			m = info.Mode().Type()
		}
	case m != fs.ModeSymlink:
		m = missing
	}
	known[name] = m
	return m
}

func (f *kustomizeFS) look(op, name string) (string, fs.FileMode, error) {
	in, ok := f.inTree(name)
	if !ok {
		return "", missing, &fs.PathError{Op: op, Path: name, Err: errOutside}
	}
	m := f.mode(in)
	switch m {
	case fs.ModeSymlink:
		return in, m, &fs.PathError{Op: op, Path: in, Err: errLink}
	case missing:
		return in, m, &fs.PathError{Op: op, Path: in, Err: fs.ErrNotExist}
	}
	return in, m, nil
}

func (f *kustomizeFS) IsDir(name string) bool {
	_, m, err := f.look("stat", name)
	return err == nil && m.IsDir()
}

func (f *kustomizeFS) Exists(name string) bool {
	_, _, err := f.look("stat", name)
	return err == nil
}

func (f *kustomizeFS) ReadFile(name string) ([]byte, error) {
	in, m, err := f.look("open", name)
	if err != nil {
		return nil, err
	}
	if !m.IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: in, Err: errors.New("it is no file")}
	}
	f.read[contents+in] = true
	if data, ok := f.replaced[in]; ok {
		return data, nil
	}
	return f.l.read(in)
}

func (f *kustomizeFS) ReadDir(name string) ([]string, error) {
	in, _, err := f.look("open", name)
	if err != nil {
		return nil, err
	}
	f.read[listed+in] = true
	entries, err := fs.ReadDir(f.l.fsys, in)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (f *kustomizeFS) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	in, m, err := f.look("stat", name)
	if err != nil {
		return "", "", err
	}
	abs := path.Join(kustomizeRoot, in)
	if m.IsDir() {
		return filesys.ConfirmedDir(abs), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(abs)), path.Base(abs), nil
}

// Glob matches in the last part of a path only, which is all that kustomize asks for.
func (f *kustomizeFS) Glob(pattern string) ([]string, error) {
	dir, base := path.Split(pattern)
	names, err := f.ReadDir(dir)
	if err != nil {
		return nil, nil //nolint:nilerr // As filepath.Glob: what cannot be read matches nothing.
	}
	var found []string
	for _, n := range names {
		ok, err := path.Match(base, n)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, path.Join(dir, n))
		}
	}
	return found, nil
}

// The rest of filesys.FileSystem is not for reading, or not used for it.

func (*kustomizeFS) Create(string) (filesys.File, error)  { return nil, errReadOnly }
func (*kustomizeFS) Mkdir(string) error                   { return errReadOnly }
func (*kustomizeFS) MkdirAll(string) error                { return errReadOnly }
func (*kustomizeFS) RemoveAll(string) error               { return errReadOnly }
func (*kustomizeFS) WriteFile(string, []byte) error       { return errReadOnly }
func (*kustomizeFS) Open(string) (filesys.File, error)    { return nil, errReadOnly }
func (*kustomizeFS) Walk(string, filepath.WalkFunc) error { return errReadOnly }

// pathStates knows what the paths are that kustomizations looked at.
type pathStates struct {
	l     *listing
	kinds map[string]fs.FileMode
	known map[string]string
}

// of sums a path up, which is an entry of Evaluation.read.
func (s *pathStates) of(entry string) string {
	if state, ok := s.known[entry]; ok {
		return state
	}
	state := ""
	switch name := entry[1:]; entry[:1] {
	case lookedAt:
		state = modeOf(s.l.fsys, s.kinds, name).String()
	case contents:
		key, _, err := s.l.key(name)
		if err != nil {
			key = err.Error()
		}
		state = key
	case listed:
		h := sha256.New()
		entries, err := fs.ReadDir(s.l.fsys, name)
		for _, e := range entries {
			fmt.Fprintf(h, "%s\x00", e.Name())
		}
		state = fmt.Sprint(hex.EncodeToString(h.Sum(nil)), err)
	}
	s.known[entry] = state
	return state
}
