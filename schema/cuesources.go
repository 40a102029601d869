package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// cueSources knows a key for the CUE files of each directory.
type cueSources struct {
	l     *listing
	byDir map[string][]string
	keys  map[string]string
}

func newCUESources(l *listing) *cueSources {
	s := &cueSources{l: l, byDir: map[string][]string{}, keys: map[string]string{}}
	for _, file := range l.cue {
		s.byDir[path.Dir(file)] = append(s.byDir[path.Dir(file)], file)
	}
	return s
}

// everyDir stands for all CUE files of the tree.
const everyDir = "*"

// key sums up the CUE files of a directory; those below a cue.mod are taken as a whole.
func (s *cueSources) key(dir string) string {
	if i := strings.Index("/"+dir+"/", "/cue.mod/"); i >= 0 {
		dir = dir[:i+len("cue.mod")]
	}
	if key, ok := s.keys[dir]; ok {
		return key
	}
	h := sha256.New()
	files := s.byDir[dir]
	switch {
	case dir == everyDir:
		files = s.l.cue
		for _, m := range s.l.modules {
			files = slices.Concat(files, s.moduleFiles(path.Join(m, "cue.mod")))
		}
	case path.Base(dir) == "cue.mod":
		files = s.moduleFiles(dir)
	}
	for _, file := range files {
		key, _, err := s.l.key(file)
		if err != nil {
			key = err.Error()
		}
		fmt.Fprintf(h, "%s\x00%s\x00", file, key)
	}
	s.keys[dir] = hex.EncodeToString(h.Sum(nil))
	return s.keys[dir]
}

// filesOf lists the CUE files of one directory, which may be below a cue.mod.
func (s *cueSources) filesOf(dir string) []string {
	i := strings.LastIndex("/"+dir+"/", "/cue.mod/")
	if i < 0 {
		return s.byDir[dir]
	}
	var files []string
	for _, file := range s.moduleFiles(dir[:i+len("cue.mod")]) {
		if path.Dir(file) == dir {
			files = append(files, file)
		}
	}
	return files
}

// moduleFiles lists the CUE files of a cue.mod.
func (s *cueSources) moduleFiles(dir string) []string {
	if files, ok := s.byDir[dir]; ok {
		return files
	}
	files := []string{}
	// What cannot be listed is missed when it is imported.
	_ = fs.WalkDir(s.l.fsys, dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && path.Ext(name) == ".cue" {
			files = append(files, name)
		}
		return nil
	})
	s.byDir[dir] = files
	return files
}
