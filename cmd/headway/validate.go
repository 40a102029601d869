package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
	"headway.dev/headway/schema"
)

// A validation is what validate prints as JSON.
type validation struct {
	Valid    bool          `json:"valid"`
	Objects  int           `json:"objects"`
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
	Problems []api.Problem `json:"problems"` // ordered by path as given, then by file, line and column
}

func (a app) validateCommand() *cobra.Command {
	var (
		out  format
		tags = tagsFlag{}
	)
	c := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check manifests as the control plane would",
		Long: `Check the manifests in directories, or in single files, as the control plane would; - is one YAML or JSON file on
standard input. Each path is a repository of its own: its files are named from there, or, of several paths and for
SARIF, from the working directory.
Problems are printed one a line: file:line:col: Kind/namespace/name: field: what is wrong and what would be right.
The exit code is 0 when all is valid (warnings are), 1 when something is not, and 2 when a path cannot be read or the
command line is wrong.`,
		Example: `  headway validate .
  headway validate examples/shop/manifests -o json
  headway validate base overlays/production -o sarif > headway.sarif
  helm template shop ./chart | headway validate -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			v := validation{Valid: true, Problems: []api.Problem{}}
			for _, path := range args {
				result, err := a.validatePath(c.Context(), path, tags)
				if err != nil {
					return exit{code: exitUsage, err: err}
				}
				named := len(args) > 1 || out == formatSARIF
				v.add(path, named, result)
			}
			if err := v.print(a, out); err != nil {
				return err
			}
			if !v.Valid {
				return exit{code: 1}
			}
			return nil
		},
	}
	c.Flags().VarP(tags, "tag", "t", "CUE tag, as name=value, or the name alone of a short form or a condition")
	formatFlag(c, &out, formatText, formatJSON, formatYAML, formatSARIF)
	usageExit(c)
	return c
}

// stdinName is what a manifest on standard input is called.
const stdinName = "stdin.yaml"

// validatePath compiles what is at a path.
func (a app) validatePath(ctx context.Context, path string, tags map[string]string) (*schema.Result, error) {
	if path == "-" {
		dir, err := a.spoolInput()
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		path = dir
	}
	tree, err := openTree(path)
	if err != nil {
		return nil, err
	}
	compiler, end, err := newCompiler(compilerOptions{tags: tags, cache: userCache()}, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	result, err := compiler.Compile(ctx, tree)
	if err != nil {
		return nil, err
	}
	return withOrder(result), nil
}

// withOrder adds what is wrong with the order that objects ask for.
func withOrder(result *schema.Result) *schema.Result {
	problems := planner.Order(result.Objects)
	if len(problems) == 0 {
		return result
	}
	all := *result
	all.Problems = slices.Concat(result.Problems, problems)
	slices.SortStableFunc(all.Problems, func(a, b api.Problem) int {
		return cmp.Or(cmp.Compare(a.Source.File, b.Source.File), cmp.Compare(a.Source.Line, b.Source.Line))
	})
	all.Complete = result.Complete && !slices.ContainsFunc(problems, func(p api.Problem) bool { return !p.Warning })
	return &all
}

// spoolInput writes standard input to a file in a directory of its own.
func (a app) spoolInput() (dir string, err error) {
	dir, err = os.MkdirTemp("", "headway-validate-")
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(filepath.Join(dir, stdinName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(f, a.stdin)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return dir, nil
}

// add takes in what one path holds; named puts the path before the names of its files.
func (v *validation) add(path string, named bool, result *schema.Result) {
	v.Valid = v.Valid && result.Complete
	v.Objects += len(result.Objects)
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		path = filepath.Dir(path)
	}
	for _, p := range result.Problems {
		if named && path != "-" && p.Source.File != "" {
			p.Source.File = filepath.Join(path, p.Source.File)
		}
		if p.Warning {
			v.Warnings++
		} else {
			v.Errors++
		}
		v.Problems = append(v.Problems, p)
	}
}

func (v *validation) print(a app, out format) error {
	switch out {
	case formatText:
		paint := paintFor(a.stdout)
		for _, p := range v.Problems {
			if p.Warning {
				fmt.Fprintf(a.stdout, "%s %s\n", p, paint(yellow, "(warning)"))
				continue
			}
			place := withoutPlace(p).String()
			fmt.Fprintln(a.stdout, paint(red, strings.TrimSuffix(p.String(), place))+place)
		}
	case formatSARIF:
		if err := printSARIF(a.stdout, v.Problems); err != nil {
			return err
		}
	default:
		if err := printData(a.stdout, out, v); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.stderr, "%d objects, %d errors, %d warnings\n", v.Objects, v.Errors, v.Warnings)
	return err
}

// openTree gives a directory, or a directory that seems to hold one file alone.
func openTree(path string) (fs.FS, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return os.DirFS(path), nil
	}
	return oneFile{os.DirFS(filepath.Dir(path)), filepath.Base(path)}, nil
}

// oneFile hides from a directory all but one file.
type oneFile struct {
	fs.FS
	name string
}

func (o oneFile) Open(name string) (fs.File, error) {
	if name != "." && name != o.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f, err := o.FS.Open(name)
	if err != nil || name != "." {
		return f, err
	}
	return oneEntry{f, o.name}, nil
}

// oneEntry is the directory of a oneFile.
type oneEntry struct {
	fs.File
	name string
}

func (o oneEntry) ReadDir(n int) ([]fs.DirEntry, error) {
	dir, ok := o.File.(fs.ReadDirFile)
	if !ok {
		return nil, fs.ErrInvalid
	}
	for {
		entries, err := dir.ReadDir(n)
		for _, e := range entries {
			if e.Name() == o.name {
				return []fs.DirEntry{e}, nil
			}
		}
		if err != nil || n <= 0 || len(entries) == 0 {
			if n > 0 && err == nil {
				err = io.EOF
			}
			return nil, err
		}
	}
}
