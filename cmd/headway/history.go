package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/config"
	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/sync/history"
	"headway.dev/headway/sync/mirror"
	"headway.dev/headway/sync/revert"
)

func (a app) historyCommand() *cobra.Command {
	var (
		contextFile, repo, path string
		limit                   int
		out                     format
	)
	c := &cobra.Command{
		Use:   "history [REV]",
		Short: "What was deployed when, by whom, and what it changed",
		Long: `List the commits of the branch that changed the manifests, newest first: when, by whom, and which files. The one that
runs now is marked, where the cluster is known.`,
		Example: `  headway history
  headway history --limit 5 -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			deployed := ""
			err := withFleet(c.Context(), contextFile, func(f fleet, conn *bus.Conn) error {
				if path == "" {
					path = f.Path
				}
				report, err := conn.Report(c.Context())
				deployed = report.Deployed.Commit
				return err
			})
			// History is Git's: the cluster only adds what runs.
			if err != nil && !errors.Is(err, errNoFleet) {
				fmt.Fprintln(a.stderr, "headway: what runs now is not known:", err)
			}
			local, err := mirror.OpenLocal(repo, path)
			if err != nil {
				return err
			}
			snapshot, err := local.At(c.Context(), strings.Join(append(args, "HEAD")[:1], ""))
			if err != nil {
				return err
			}
			entries, err := history.Log(c.Context(), snapshot, limit)
			if err != nil {
				return err
			}
			if out != formatText {
				return printData(a.stdout, out, entries)
			}
			return printHistory(a.stdout, entries, deployed)
		},
	}
	fleetFlag(c, &contextFile)
	c.Flags().StringVar(&repo, "repo", ".", "local repository (or a folder in it)")
	c.Flags().StringVar(&path, "path", "", "folder of the repository that holds the manifests (default: the cluster's, or all)")
	c.Flags().IntVar(&limit, "limit", 20, "at most so many commits; 0 is all")
	formatFlag(c, &out, formatText, formatJSON, formatYAML)
	return c
}

func printHistory(w io.Writer, entries []history.Entry, deployed string) error {
	var b strings.Builder
	for _, e := range entries {
		mark := " "
		if e.Revision.Commit == deployed {
			mark = "*"
		}
		fmt.Fprintf(&b, "%s %s  %s  %s\n", mark, e.Revision.Short(), e.Revision.Time.UTC().Format("2006-01-02 15:04:05Z"), e.Subject)
		fmt.Fprintf(&b, "      by %s", e.Revision.Author)
		for _, took := range []string{e.Reverts, e.RollbackFrom} {
			if took != "" {
				fmt.Fprintf(&b, "; takes back %s", api.ShortCommit(took))
			}
		}
		b.WriteString("\n")
		for _, f := range e.Files {
			fmt.Fprintf(&b, "      %s %s\n", f.Kind, f.Path)
		}
	}
	if deployed != "" {
		b.WriteString("\n* runs now\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a app) rollbackCommand() *cobra.Command {
	o := revert.Options{}
	c := &cobra.Command{
		Use:   "rollback [COMMIT]",
		Short: "Make the commit that brings an earlier state back",
		Long: `Make one commit on the branch, whose manifests are those of COMMIT (default: of the commit before the last one). What
runs changes when the commit reaches the branch that the cluster follows: push it as any other, or name the
repository's URL with --repo, and it is pushed there.`,
		Example: `  headway rollback && git push
  headway rollback v1.4
  headway rollback --repo https://git.example/fleet.git --branch main 3f2a91c`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if o.Author, err = author(); err != nil {
				return err
			}
			o.Time = time.Now()
			made, err := revert.To(c.Context(), o, strings.Join(append(args, "HEAD~1")[:1], ""))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s %s\n", made.Short(), subject(made.Message))
			return err
		},
	}
	c.Flags().StringVar(&o.URL, "repo", ".", "repository: a path, or a URL to push to")
	c.Flags().StringVar(&o.Ref, "branch", "", "branch to roll back (default: the one that HEAD is on)")
	c.Flags().StringVar(&o.Path, "path", "", "folder to roll back (default: the whole repository)")
	c.Flags().StringVarP(&o.Message, "message", "m", "", "why, added to the commit's message")
	return c
}

// author is who git would say makes a commit here.
func author() (revert.Person, error) {
	p := revert.Person{Name: os.Getenv("GIT_AUTHOR_NAME"), Email: os.Getenv("GIT_AUTHOR_EMAIL")}
	if p.Name != "" && p.Email != "" {
		return p, nil
	}
	global, err := config.LoadConfig(config.GlobalScope)
	if err != nil {
		return p, fmt.Errorf("read git's configuration: %w", err)
	}
	if p.Name == "" {
		p.Name = global.User.Name
	}
	if p.Email == "" {
		p.Email = global.User.Email
	}
	if p.Name == "" || p.Email == "" {
		return p, errors.New("git does not know who you are: git config --global user.name and user.email")
	}
	return p, nil
}
