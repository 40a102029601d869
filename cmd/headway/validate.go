package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/schema"
)

// A validation is what validate prints as JSON.
type validation struct {
	Valid    bool          `json:"valid"`
	Objects  int           `json:"objects"`
	Problems []api.Problem `json:"problems"`
}

func (a app) validateCommand() *cobra.Command {
	var (
		out  format
		tags map[string]string
	)
	c := &cobra.Command{
		Use:   "validate PATH",
		Short: "Check manifests as the control plane would",
		Long: `Check the manifests in a directory, or in one file, as the control plane would.
Problems are printed one a line: file:line:col: Kind/namespace/name: field: what is wrong and what would be right.
The exit code is 0 when all is valid (warnings are), and 1 otherwise.`,
		Example: `  headway validate .
  headway validate examples/shop/manifests -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			tree, err := openTree(args[0])
			if err != nil {
				return err
			}
			compiler, err := schema.New(schema.Options{Tags: tags})
			if err != nil {
				return err
			}
			result, err := compiler.Compile(c.Context(), tree)
			if err != nil {
				return err
			}
			v := validation{Valid: result.Complete, Objects: len(result.Objects), Problems: result.Problems}
			if err := v.print(a, out); err != nil {
				return err
			}
			if !v.Valid {
				return exit{code: 1}
			}
			return nil
		},
	}
	c.Flags().StringToStringVarP(&tags, "tag", "t", nil, "value of a CUE @tag, as name=value")
	formatFlag(c, &out, formatText, formatJSON, formatYAML)
	return c
}

func (v validation) print(a app, out format) error {
	if out != formatText {
		return printData(a.stdout, out, v)
	}
	problems, warnings := 0, 0
	for _, p := range v.Problems {
		if p.Warning {
			warnings++
			fmt.Fprintf(a.stdout, "%s (warning)\n", p)
			continue
		}
		problems++
		fmt.Fprintln(a.stdout, p)
	}
	_, err := fmt.Fprintf(a.stderr, "%d objects, %d errors, %d warnings\n", v.Objects, problems, warnings)
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
