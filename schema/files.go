package schema

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// maxFile is the largest manifest that is read, in bytes.
const maxFile = 10 << 20

// A hasher is a tree that knows a key for the content of each file, as Git does.
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
}

// listFiles finds the manifests: files that end in .yaml, .yml, .json or .cue. Directories that start with a dot or an
// underscore are left out, and so are cue.mod and testdata. Links are not followed.
func listFiles(ctx context.Context, fsys fs.FS) (*listing, error) {
	l := &listing{fsys: fsys}
	l.hasher, _ = fsys.(hasher)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if name == "." || errors.Is(err, context.Canceled) {
				return err
			}
			l.problem(name, false, "cannot be read: %v", err)
			return nil
		}
		base := path.Base(name)
		if d.IsDir() {
			if base == "cue.mod" {
				l.modules = append(l.modules, path.Dir(name))
			}
			if name != "." && skipDir(base) {
				return fs.SkipDir
			}
			return nil
		}
		l.file(name, d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("schema: the tree cannot be listed: %w", err)
	}
	return l, nil
}

func skipDir(base string) bool {
	return base[0] == '.' || base[0] == '_' || base == "cue.mod" || base == "testdata"
}

func (l *listing) file(name string, d fs.DirEntry) {
	ext := path.Ext(name)
	switch {
	case !slices.Contains([]string{".yaml", ".yml", ".json", ".cue"}, ext) && !isKustomization(name):
	case d.Type()&fs.ModeSymlink != 0:
		l.problem(name, true, "is a link, which is not followed: commit the file itself")
	case !d.Type().IsRegular():
	case ext == ".cue":
		base := path.Base(name)
		// CUE leaves these out too.
		if base[0] != '.' && base[0] != '_' && !strings.HasSuffix(base, "_tool.cue") && !strings.HasSuffix(base, "_test.cue") {
			l.cue = append(l.cue, name)
		}
	default:
		l.data = append(l.data, name)
	}
}

func (l *listing) problem(name string, warning bool, format string, args ...any) {
	l.problems = append(l.problems, api.Problem{Source: api.Position{File: name}, Message: fmt.Sprintf(format, args...), Warning: warning})
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
