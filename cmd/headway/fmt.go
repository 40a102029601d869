package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"

	"headway.dev/headway/rewrite"
)

// A formatting is what fmt did, or would do.
type formatting struct {
	Changed []string `json:"changed"`
	Errors  []string `json:"errors,omitempty"` // of files left as they are
	diffs   []string
}

func (a app) fmtCommand() *cobra.Command {
	var (
		check, diff bool
		out         format
	)
	c := &cobra.Command{
		Use:   "fmt [PATH...]",
		Short: "Format manifests, CUE and YAML",
		Long: `Format CUE as cue fmt does, and YAML: two spaces a level, lists under their keys in one way through a file, no space at
the end of a line. Comments, their order, the words and how lines are broken stay. No file is written before its new
text was found to mean the same; one that cannot be read is named, with the line, and left as it is. Files are replaced
whole. Left out are directories that start with a dot or an underscore, cue.mod and testdata.
With --check or --diff nothing is written, and the exit code is 1 if anything would change. It is 2 if a file cannot be
read, or the command line is wrong.`,
		Example: `  headway fmt
  headway fmt --check .            # for CI
  headway fmt -d web.yaml`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			result, err := formatPaths(args, !check && !diff)
			if err != nil {
				return exit{code: exitUsage, err: err}
			}
			if err := result.print(a, out, diff); err != nil {
				return err
			}
			switch {
			case len(result.Errors) > 0:
				return exit{code: exitUsage}
			case (check || diff) && len(result.Changed) > 0:
				return exit{code: 1}
			}
			return nil
		},
		Args: cobra.ArbitraryArgs,
	}
	c.Flags().BoolVar(&check, "check", false, "write nothing, and exit with 1 if a file is not formatted")
	c.Flags().BoolVarP(&diff, "diff", "d", false, "the same, and show what would change")
	formatFlag(c, &out, formatText, formatJSON)
	usageExit(c)
	return c
}

func (f formatting) print(a app, out format, diff bool) error {
	if out != formatText {
		return printData(a.stdout, out, f)
	}
	for i, name := range f.Changed {
		if diff {
			fmt.Fprint(a.stdout, f.diffs[i])
		} else {
			fmt.Fprintln(a.stdout, name)
		}
	}
	for _, e := range f.Errors {
		fmt.Fprintln(a.stderr, e)
	}
	return nil
}

// formatPaths formats files, and what is below directories.
func formatPaths(paths []string, write bool) (formatting, error) {
	f := formatting{Changed: []string{}}
	for _, root := range paths {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			base := d.Name()
			if d.IsDir() {
				if name != root && (strings.ContainsRune("._", rune(base[0])) || base == "cue.mod" || base == "testdata") {
					return fs.SkipDir
				}
				return nil
			}
			if !d.Type().IsRegular() {
				return nil
			}
			return f.file(name, write)
		})
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// file formats one file, if it is a manifest.
func (f *formatting) file(name string, write bool) error {
	var rewriter func(string, []byte) ([]byte, error)
	switch filepath.Ext(name) {
	case ".cue":
		rewriter = rewrite.CUE
	case ".yaml", ".yml":
		rewriter = rewrite.YAML
	default:
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	formatted, err := rewriter(name, data)
	if err != nil {
		f.Errors = append(f.Errors, err.Error())
		return nil
	}
	if bytes.Equal(data, formatted) {
		return nil
	}
	diff, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(string(data)), B: difflib.SplitLines(string(formatted)), FromFile: name, ToFile: name + " (formatted)", Context: 3,
	})
	if err != nil {
		return err
	}
	f.Changed, f.diffs = append(f.Changed, name), append(f.diffs, diff)
	if !write {
		return nil
	}
	return replaceFile(name, formatted)
}

// replaceFile gives a file new content in one step, and keeps its mode.
func replaceFile(name string, data []byte) (err error) {
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(name); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
