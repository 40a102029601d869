package rewrite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue/parser"

	"headway.dev/headway/api"
	"headway.dev/headway/schema"
)

// An Import is the CUE that stands for the YAML files of a tree.
type Import struct {
	Files []Imported
	// Left are the files that stay YAML, and why; what is no error is a warning.
	Left []api.Problem
}

// Imported is one CUE file, and the YAML file that it stands for.
type Imported struct {
	From string `json:"from"`
	To   string `json:"to"`
	Data []byte `json:"-"`
}

// ToCUE turns each YAML file of a tree whose documents are objects into a CUE file beside it, a package a directory:
// deployment: web: {…}. name is what the tree's own directory is called. Directories that kustomize builds stay as they
// are.
func ToCUE(fsys fs.FS, name string) (*Import, error) {
	s, err := survey(fsys)
	if err != nil {
		return nil, err
	}
	out := &Import{}
	leave := func(file string, warning bool, message string) {
		out.Left = append(out.Left, api.Problem{Source: api.Position{File: file}, Message: message, Warning: warning})
	}
	for _, dir := range s.dirs {
		if s.kustomized[dir] {
			leave(dir, true, "is a directory that kustomize builds: left as it is")
			continue
		}
		c := &converter{labels: map[string]bool{}}
		pkg := s.packageOf(dir, name)
		for _, file := range s.yaml[dir] {
			data, err := fs.ReadFile(fsys, file)
			if err != nil {
				return nil, err
			}
			c.file = file
			cue, err := c.convert(pkg, bytes.TrimPrefix(data, []byte("\ufeff")))
			var bad *FileError
			switch {
			case errors.As(err, &bad):
				out.Left = append(out.Left, api.Problem{Source: bad.Position, Message: bad.Message + ": left as it is"})
			case errors.Is(err, errNoObjects):
				leave(file, true, err.Error()+": left as it is")
			case err != nil:
				return nil, err
			case cue != nil:
				out.Files = append(out.Files, Imported{From: file, To: s.cueName(file), Data: cue})
				s.packages[dir] = pkg
			}
		}
	}
	return out, nil
}

// A surveyed tree: its files by directory.
type surveyed struct {
	dirs       []string // that hold YAML, parents first
	yaml       map[string][]string
	packages   map[string]string // CUE packages by directory
	kustomized map[string]bool
	taken      map[string]bool // names of CUE files to be
}

func survey(fsys fs.FS) (*surveyed, error) {
	s := &surveyed{yaml: map[string][]string{}, packages: map[string]string{}, kustomized: map[string]bool{}, taken: map[string]bool{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base, dir := path.Base(name), path.Dir(name)
		switch {
		case d.IsDir():
			if name != "." && (base[0] == '.' || base[0] == '_' || base == "cue.mod" || base == "testdata") {
				return fs.SkipDir
			}
		case !d.Type().IsRegular():
		case slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, base):
			s.kustomized[dir] = true
		case path.Ext(base) == ".yaml" || path.Ext(base) == ".yml":
			if s.yaml[dir] == nil {
				s.dirs = append(s.dirs, dir)
			}
			s.yaml[dir] = append(s.yaml[dir], name)
		case path.Ext(base) == ".cue":
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			// A file that does not parse says so when it is compiled.
			if f, err := parser.ParseFile(name, data, parser.PackageClauseOnly); err == nil && f.PackageName() != "" {
				s.packages[dir] = f.PackageName()
			}
		}
		return nil
	})
	slices.Sort(s.dirs)
	return s, err
}

// packageOf is the directory's package: that of its CUE files, or one after its name that no parent has, for parents of
// the same package are part of it.
func (s *surveyed) packageOf(dir, root string) string {
	if pkg, ok := s.packages[dir]; ok {
		return pkg
	}
	pkg := packageName(dir, root)
	above := map[string]bool{}
	for d := dir; d != "."; {
		d = path.Dir(d)
		above[s.packages[d]] = true
	}
	for d := dir; above[pkg]; {
		d = path.Dir(d)
		pkg = packageName(d, root) + "_" + pkg
	}
	return pkg
}

// cueName is where the CUE of a YAML file goes. CUE leaves out names such as _a.cue and a_test.cue.
func (s *surveyed) cueName(file string) string {
	dir, base := path.Split(file)
	base = strings.TrimLeft(strings.TrimSuffix(base, path.Ext(base)), "._")
	if strings.HasSuffix(base, "_test") || strings.HasSuffix(base, "_tool") {
		base = base[:len(base)-5] + "-" + base[len(base)-4:]
	}
	name := dir + base + ".cue"
	for i := 2; s.taken[name]; i++ {
		name = fmt.Sprintf("%s%s-%d.cue", dir, base, i)
	}
	s.taken[name] = true
	return name
}

// Compare compiles a tree as it is, and with the import in place of its YAML files. It returns how many objects there
// are, and how the two differ: nothing, if the import means the same.
func (im *Import) Compare(ctx context.Context, compiler *schema.Compiler, fsys fs.FS) (objects int, differences []string, err error) {
	before, err := compiler.Compile(ctx, fsys)
	if err != nil {
		return 0, nil, err
	}
	after, err := compiler.Compile(ctx, im.overlay(fsys))
	if err != nil {
		return 0, nil, err
	}
	was, err := byRef(before)
	if err != nil {
		return 0, nil, err
	}
	is, err := byRef(after)
	if err != nil {
		return 0, nil, err
	}
	for ref, value := range was {
		switch other, ok := is[ref]; {
		case !ok:
			differences = append(differences, ref.String()+" is lost")
		case !bytes.Equal(value, other):
			differences = append(differences, ref.String()+" is another")
		}
	}
	for ref := range is {
		if _, ok := was[ref]; !ok {
			differences = append(differences, ref.String()+" is new")
		}
	}
	for _, p := range after.Problems {
		known := slices.ContainsFunc(before.Problems, func(b api.Problem) bool { return b == p })
		if p.Ref.IsZero() && !p.Warning && !known {
			differences = append(differences, p.String())
		}
	}
	slices.Sort(differences)
	return len(was), differences, nil
}

func byRef(r *schema.Result) (map[api.Ref][]byte, error) {
	values := map[api.Ref][]byte{}
	for _, o := range r.Objects {
		data, err := json.Marshal(o.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Ref, err)
		}
		values[o.Ref] = data
	}
	return values, nil
}
