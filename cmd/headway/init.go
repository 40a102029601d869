package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/spf13/cobra"
)

// starter holds the files of a new repository, by what asks for them.
//
//go:embed all:starter
var starter embed.FS

// initOptions are the flags of init.
type initOptions struct {
	cue, yaml   bool
	ci          string
	git, dryRun bool
}

// A started repository, as init prints it.
type started struct {
	Directory string   `json:"directory"`
	Files     []string `json:"files"` // below the directory
	Git       bool     `json:"git"`   // a Git repository was made
	Written   bool     `json:"written"`
	contents  map[string][]byte
}

func (a app) initCommand() *cobra.Command {
	var (
		o   initOptions
		out format
	)
	c := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Start a repository of manifests",
		Long: `Write a small repository that works: a namespace, a deployment with its config map and service, a README with the way of
working, and what a CI job runs before a merge. No file that is there already is touched: if one is, nothing is written.
Outside of a Git repository, one is made.`,
		Example: `  headway init shop
  headway init --yaml --ci github
  headway init --dry-run`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			s, err := o.start(dir)
			if err != nil {
				return exit{code: exitUsage, err: err}
			}
			return s.print(a, out)
		},
	}
	c.Flags().BoolVar(&o.cue, "cue", false, "manifests in CUE (the default)")
	c.Flags().BoolVar(&o.yaml, "yaml", false, "manifests in YAML")
	c.Flags().StringVar(&o.ci, "ci", "", "also the job's file for a service: github or gitlab")
	c.Flags().BoolVar(&o.git, "git", false, "make a Git repository even inside of another")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "write nothing: list what would be written")
	c.MarkFlagsMutuallyExclusive("cue", "yaml")
	// The flag was added above: this cannot fail.
	_ = c.RegisterFlagCompletionFunc("ci", cobra.FixedCompletions([]string{"github", "gitlab"}, cobra.ShellCompDirectiveNoFileComp))
	formatFlag(c, &out, formatText, formatJSON)
	usageExit(c)
	return c
}

// start writes the repository.
func (o initOptions) start(dir string) (started, error) {
	parts := []string{"common", "cue"}
	if o.yaml {
		parts[1] = "yaml"
	}
	switch o.ci {
	case "":
	case "github", "gitlab":
		parts = append(parts, o.ci)
	default:
		return started{}, fmt.Errorf("--ci %s: it is github or gitlab; without, ci/check.sh runs anywhere", o.ci)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return started{}, err
	}
	s := started{Directory: dir, contents: map[string][]byte{}}
	for _, part := range parts {
		if err := s.render(part, map[string]any{"Name": filepath.Base(abs), "CUE": !o.yaml}); err != nil {
			return started{}, err
		}
	}
	slices.Sort(s.Files)
	var there []string
	for _, name := range s.Files {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			there = append(there, filepath.Join(dir, name))
		}
	}
	if len(there) > 0 {
		return started{}, fmt.Errorf("%s: there already, and init writes over nothing: nothing was written; move it away, or name another directory", strings.Join(there, ", "))
	}
	s.Git = o.git || !insideGit(abs)
	if o.dryRun {
		return s, nil
	}
	s.Written = true
	return s, s.write()
}

// render reads the files of one part. Two percent signs open and close what is filled in.
func (s *started) render(part string, data any) error {
	root := "starter/" + part
	return fs.WalkDir(starter, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := starter.ReadFile(name)
		if err != nil {
			return err
		}
		t, err := template.New(name).Delims("<%", "%>").Parse(string(text))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, data); err != nil {
			return err
		}
		file := filepath.FromSlash(strings.TrimPrefix(name, root+"/"))
		s.Files = append(s.Files, file)
		s.contents[file] = b.Bytes()
		return nil
	})
}

func (s *started) write() error {
	for _, file := range s.Files {
		name := filepath.Join(s.Directory, file)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if filepath.Ext(name) == ".sh" {
			mode = 0o755
		}
		// Exclusive: what came since is not written over either.
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = f.Write(s.contents[file])
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if !s.Git {
		return nil
	}
	_, err := git.PlainInitWithOptions(s.Directory, &git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName("main")}})
	if err != nil {
		return fmt.Errorf("make a Git repository in %s: %w", s.Directory, err)
	}
	return nil
}

// insideGit tells whether a directory, which need not be there yet, is in a Git repository.
func insideGit(dir string) bool {
	for {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
}

func (s started) print(a app, out format) error {
	if out != formatText {
		return printData(a.stdout, out, s)
	}
	for _, f := range s.Files {
		fmt.Fprintln(a.stdout, filepath.Join(s.Directory, f))
	}
	if !s.Written {
		fmt.Fprintf(a.stderr, "%d files to write; nothing was written\n", len(s.Files))
		return nil
	}
	_, err := fmt.Fprintf(a.stderr, "%d files written. Next: read %s, then headway validate %s\n",
		len(s.Files), filepath.Join(s.Directory, "README.md"), filepath.Join(s.Directory, "manifests"))
	return err
}
