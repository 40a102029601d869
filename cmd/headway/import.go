package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/rewrite"
)

// importOptions are the flags of import.
type importOptions struct {
	force, dryRun, replace bool
}

// An imported directory, as import prints it.
type imported struct {
	Files   []rewrite.Imported `json:"files"`
	Objects int                `json:"objects"` // in the whole tree, all the same before and after
	Left    []api.Problem      `json:"left"`    // what stays YAML, and why
	Written bool               `json:"written"`
}

func (a app) importCommand() *cobra.Command {
	var (
		o   importOptions
		out format
	)
	c := &cobra.Command{
		Use:   "import [PATH...]",
		Short: "Turn YAML manifests into CUE",
		Long: `Write a CUE file beside each YAML file of a directory tree: a package a directory, each object as deployment: web: {…},
comments kept, anchors and Lists written out. Before anything is written, the tree is compiled as it is and with CUE in
place of the YAML: unless both give the same objects, nothing is.
The YAML files stay unless --replace is given; as long as both are there, each object is declared twice, which validate
notes. Directories that kustomize builds, and files that hold something other than objects, stay as they are.
The exit code is 1 if a file could not be read as YAML, and 2 if nothing was written since objects would change, a CUE
file is there already, or the command line is wrong.`,
		Example: `  headway import --dry-run
  headway import --replace .
  headway import apps/shop --force       # over the CUE of an earlier import`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			failed := false
			for _, dir := range args {
				result, err := o.run(c, dir)
				if err != nil {
					return exit{code: exitUsage, err: err}
				}
				if err := result.print(a, out, dir); err != nil {
					return err
				}
				for _, p := range result.Left {
					failed = failed || !p.Warning
				}
			}
			if failed {
				return exit{code: 1}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "write nothing: say what would be written")
	c.Flags().BoolVar(&o.force, "force", false, "write over CUE files that are there already")
	c.Flags().BoolVar(&o.replace, "replace", false, "delete each YAML file that CUE stands for now")
	formatFlag(c, &out, formatText, formatJSON)
	usageExit(c)
	return c
}

// run imports one directory.
func (o importOptions) run(c *cobra.Command, dir string) (imported, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return imported{}, err
	}
	if info, err := os.Stat(root); err != nil {
		return imported{}, err
	} else if !info.IsDir() {
		return imported{}, fmt.Errorf("%s is a file: name the directory, since a package is one", dir)
	}
	tree := os.DirFS(root)
	im, err := rewrite.ToCUE(tree, filepath.Base(root))
	if err != nil {
		return imported{}, err
	}
	for _, f := range im.Files {
		if _, err := fs.Stat(tree, f.To); err == nil && !o.force {
			return imported{}, fmt.Errorf("%s is there already: move it away, or write over it with --force; nothing was written", filepath.Join(dir, f.To))
		}
	}
	compiler, end, err := newCompiler(compilerOptions{}, nil)
	if err != nil {
		return imported{}, err
	}
	defer end()
	result := imported{Files: im.Files, Left: im.Left}
	objects, differences, err := im.Compare(c.Context(), compiler, tree)
	if err != nil {
		return imported{}, err
	}
	if len(differences) > 0 {
		for _, d := range differences {
			fmt.Fprintln(c.ErrOrStderr(), d)
		}
		return imported{}, fmt.Errorf("%s: as CUE, the objects above would not be what they are: nothing was written", dir)
	}
	result.Objects = objects
	if o.dryRun {
		return result, nil
	}
	result.Written = true
	return result, o.write(root, im)
}

// write puts all CUE files there before it deletes any YAML.
func (o importOptions) write(root string, im *rewrite.Import) error {
	for _, f := range im.Files {
		if err := replaceFile(filepath.Join(root, filepath.FromSlash(f.To)), f.Data); err != nil {
			return err
		}
	}
	if !o.replace {
		return nil
	}
	var errs []error
	for _, f := range im.Files {
		errs = append(errs, os.Remove(filepath.Join(root, filepath.FromSlash(f.From))))
	}
	return errors.Join(errs...)
}

func (i imported) print(a app, out format, dir string) error {
	if out != formatText {
		return printData(a.stdout, out, i)
	}
	for _, f := range i.Files {
		fmt.Fprintf(a.stdout, "%s -> %s\n", filepath.Join(dir, f.From), filepath.Join(dir, f.To))
	}
	for _, p := range i.Left {
		p.Source.File = filepath.Join(dir, p.Source.File)
		fmt.Fprintln(a.stderr, p)
	}
	done := "written"
	if !i.Written {
		done = "to write"
	}
	_, err := fmt.Fprintf(a.stderr, "%d files %s; all %d objects stay the same\n", len(i.Files), done, i.Objects)
	return err
}
