package schema

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/mod/modfile"
	"cuelang.org/go/mod/module"
)

const (
	// builtinDir is where the CUE of a tree finds this package's definitions, unless it has vendored them.
	builtinDir = "cue.mod/pkg/headway.dev/headway/schema"
	// noModule is the cue.mod/module.cue of a tree that has none.
	noModule = "module: \"headway.invalid/tree@v0\"\nlanguage: version: \"v0.9.0\"\n"
)

// A cueModule is the CUE of one module as the loader sees it: held in memory whole, under a root that is on no disk.
// (The loader can also read an fs.FS, but does not find vendored packages in one.)
type cueModule struct {
	root    string   // in the tree; "." is the tree's own root
	dirs    []string // in the tree, with CUE files
	overlay map[string]load.Source
	mount   string // absolute
}

// overlayRoot is an absolute path where no machine has anything.
const overlayRoot = "/headway.invalid/tree"

// fill reads the module's files. One that cannot be read is a problem of its own.
func (m *cueModule) fill(s *cueSources) ([]*fileResult, error) {
	var err error
	if m.mount, err = filepath.Abs(filepath.FromSlash(overlayRoot)); err != nil {
		return nil, err
	}
	m.overlay = map[string]load.Source{}
	var bad []*fileResult
	modDir := path.Join(m.root, "cue.mod")
	for _, file := range slices.Concat(s.l.cue, s.moduleFiles(modDir)) {
		if _, ok := below(file, m.root); !ok {
			continue
		}
		data, err := s.l.read(file)
		if err == nil && deep(data) {
			err = fmt.Errorf("it is nested more than %d deep", maxCUEDepth)
		}
		if err != nil {
			bad = append(bad, fileProblem(file, "cannot be read: %v", err))
			continue
		}
		m.overlay[m.onDisk(file)] = load.FromBytes(data)
	}
	if _, ok := m.overlay[m.onDisk(path.Join(modDir, "module.cue"))]; !ok {
		m.overlay[m.onDisk(path.Join(modDir, "module.cue"))] = load.FromString(noModule)
	}
	m.dirs = slices.DeleteFunc(m.dirs, func(dir string) bool {
		return !slices.ContainsFunc(s.byDir[dir], func(file string) bool { _, ok := m.overlay[m.onDisk(file)]; return ok })
	})
	return bad, m.addBuiltin()
}

// addBuiltin adds this package's definitions.
func (m *cueModule) addBuiltin() error {
	dir := m.onDisk(path.Join(m.root, builtinDir))
	for file := range m.overlay {
		if strings.HasPrefix(file, dir+string(filepath.Separator)) {
			return nil
		}
	}
	names, err := fs.Glob(definitions, "*.cue")
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := definitions.ReadFile(name)
		if err != nil {
			return err
		}
		m.overlay[filepath.Join(dir, name)] = load.FromBytes(data)
	}
	return nil
}

// below gives the rest of a path below a directory, which may be ".".
func below(file, dir string) (string, bool) {
	if dir == "." || file == dir {
		return file, true
	}
	return strings.CutPrefix(file, dir+"/")
}

// onDisk is where the loader finds a file or directory of the tree, and inTree the way back.
func (m *cueModule) onDisk(file string) string {
	return filepath.Join(m.mount, filepath.FromSlash(file))
}

func (m *cueModule) inTree(file string) string {
	rest, err := filepath.Rel(m.mount, file)
	if err != nil {
		return file
	}
	return filepath.ToSlash(rest)
}

// maxCUEDepth bounds the nesting of CUE, whose parser would otherwise run out of stack.
const maxCUEDepth = 500

// deep tells whether brackets are nested too deep; those in strings count too, but no one writes that many.
func deep(data []byte) bool {
	depth := 0
	for _, b := range data {
		switch b {
		case '(', '[', '{':
			if depth++; depth > maxCUEDepth {
				return true
			}
		case ')', ']', '}':
			depth--
		}
	}
	return false
}

// load reads the packages of directories with all that they import. It reaches neither the disk nor the network.
func (e *cueEvaluation) load(dirs []string) map[string][]*build.Instance {
	args := make([]string, len(dirs))
	for i, dir := range dirs {
		rest, _ := below(dir, e.module.root)
		if dir == e.module.root {
			rest = "."
		}
		args[i] = "./" + rest
	}
	root := e.module.onDisk(e.module.root)
	config := &load.Config{
		Overlay: e.module.overlay, Dir: root, ModuleRoot: root, Package: "*",
		AcceptLegacyModules: true,
		Registry:            noRegistry{},
		Env:                 []string{},
	}
	instances := load.Instances(args, config)
	if tags := e.tags(instances); len(tags) > 0 {
		config.Tags = tags
		instances = load.Instances(args, config)
	}
	loaded := map[string][]*build.Instance{}
	for _, i := range instances {
		dir := e.module.inTree(i.Dir)
		if len(dirs) == 1 {
			dir = dirs[0]
		}
		loaded[dir] = append(loaded[dir], i)
	}
	return loaded
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

var errNoModule = errors.New("it is not in the repository, and headway fetches no modules: vendor it under cue.mod/pkg")

func (noRegistry) ModFile(_ context.Context, m module.Version) (*modfile.File, error) {
	return nil, fmt.Errorf("module %s: %w", m, errNoModule)
}

func (noRegistry) Fetch(_ context.Context, m module.Version) (module.SourceLoc, error) {
	return module.SourceLoc{}, fmt.Errorf("module %s: %w", m, errNoModule)
}

func (noRegistry) ModuleVersions(context.Context, string) ([]string, error) { return nil, nil }

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
