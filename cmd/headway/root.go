package main

import (
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// app holds the streams that every command uses.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

func (a app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "headway",
		Short: "Push a commit, and it runs",
		Long: `headway follows a Git repository of Kubernetes manifests and runs them on a fleet of machines.
A commit deploys, a reverted commit rolls back, and headway plan shows what a commit would do.`,
		Example: `  headway lab up --repo ./shop --nodes 3     a cluster of three nodes on this machine
  headway plan --to my-branch                what the branch would change
  headway status                             what runs, and what stands in the way`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run a cluster:"},
		&cobra.Group{ID: "change", Title: "Before and after a commit:"},
		&cobra.Group{ID: "look", Title: "See what runs:"},
		&cobra.Group{ID: "enter", Title: "Reach into a pod:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", a.upCommand(), a.serverCommand(), a.nodeCommand(), a.labCommand())
	add("change", a.initCommand(), a.schemaCommand(), a.validateCommand(), a.fmtCommand(), a.importCommand(), a.planCommand(), a.historyCommand(), a.blameCommand(), a.rollbackCommand())
	add("look", a.statusCommand(), a.getCommand(), a.describeCommand(), a.whyCommand(), a.eventsCommand(), a.topCommand(), a.waitCommand())
	add("enter", a.logsCommand(), a.attachCommand(), a.execCommand(), a.cpCommand(), a.portForwardCommand())
	return root
}

// version is that of the module the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// logger writes the daemons' log: for a person on a terminal, one JSON object a line elsewhere.
func (a app) logger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	if a.interactive() {
		return slog.New(slog.NewTextHandler(a.stderr, options))
	}
	return slog.New(slog.NewJSONHandler(a.stderr, options))
}

// interactive reports whether a person reads stderr.
func (a app) interactive() bool {
	f, ok := a.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
