package schema

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/mod/modfile"
	"cuelang.org/go/mod/module"
)

// load reads the packages of a directory with all that they import. It reaches neither the disk nor the network.
func (e *cueEvaluation) load(dir string) []*build.Instance {
	rel := "."
	if dir != e.module.root {
		rel = "./" + strings.TrimPrefix(strings.TrimPrefix(dir, e.module.root), "/")
	}
	config := &load.Config{
		FS: e.fs, Dir: "/", ModuleRoot: "/", Package: "*",
		FromFSPath:          e.filename,
		AcceptLegacyModules: true,
		Registry:            noRegistry{},
		Env:                 []string{},
	}
	instances := load.Instances([]string{rel}, config)
	if tags := e.tags(instances); len(tags) > 0 {
		config.Tags = tags
		instances = load.Instances([]string{rel}, config)
	}
	return instances
}

// filename is a path of the tree for one of the module.
func (e *cueEvaluation) filename(name string) string {
	return path.Join(e.module.root, strings.TrimPrefix(name, "/"))
}

// tags are those of the compiler's tags that a file asks for; loading with any other is an error.
func (e *cueEvaluation) tags(instances []*build.Instance) []string {
	var tags []string
	for name, v := range e.compiler.options.Tags {
		if slices.ContainsFunc(instances, func(i *build.Instance) bool { return asksFor(i, name) }) {
			tags = append(tags, name+"="+v)
		}
	}
	slices.Sort(tags)
	return tags
}

func asksFor(i *build.Instance, tag string) bool {
	for _, f := range i.BuildFiles {
		data, ok := f.Source.([]byte)
		if ok && (bytes.Contains(data, []byte("@tag("+tag+")")) || bytes.Contains(data, []byte("@tag("+tag+","))) {
			return true
		}
	}
	return false
}

// noRegistry answers every request for a module with the reason why there is none.
type noRegistry struct{}

func (noRegistry) missing(m string) error {
	return fmt.Errorf("module %s is not in the repository, and headway fetches none: vendor it under cue.mod/pkg", m)
}

func (n noRegistry) ModFile(_ context.Context, m module.Version) (*modfile.File, error) {
	return nil, n.missing(m.String())
}

func (n noRegistry) Fetch(_ context.Context, m module.Version) (module.SourceLoc, error) {
	return module.SourceLoc{}, n.missing(m.String())
}

func (n noRegistry) ModuleVersions(context.Context, string) ([]string, error) { return nil, nil }

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

// key sums up the CUE files of a directory; those below cue.mod are taken as a whole.
func (s *cueSources) key(dir string) string {
	if i := strings.Index(dir+"/", "cue.mod/"); i >= 0 {
		dir = dir[:min(len(dir), i+len("cue.mod"))]
	}
	if key, ok := s.keys[dir]; ok {
		return key
	}
	h := sha256.New()
	files := s.byDir[dir]
	if path.Base(dir) == "cue.mod" {
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

// moduleFiles lists what a cue.mod holds.
func (s *cueSources) moduleFiles(dir string) []string {
	var files []string
	// A cue.mod that cannot be read fails when it is loaded.
	_ = fs.WalkDir(s.l.fsys, dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return nil
	})
	return files
}
