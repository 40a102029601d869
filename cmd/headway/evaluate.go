package main

import (
	"log/slog"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"headway.dev/headway/evaluator"
	"headway.dev/headway/schema"
)

// evaluateCommand is the child process of every command that reads manifests. It is not for people.
func (a app) evaluateCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "evaluate",
		Short:   "Evaluate CUE and kustomizations for another headway, which speaks on stdin",
		Example: `  headway evaluate     is started by headway validate, plan, server and up`,
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// What a library prints must not get between the frames.
			os.Stdout = os.Stderr
			return evaluator.Serve(c.Context(), a.stdin, a.stdout, func() { os.Exit(0) })
		},
	}
}

// newCompiler makes a compiler that leaves to a child process what has no bound. The function it returns ends that.
func newCompiler(tags map[string]string, log *slog.Logger) (*schema.Compiler, func(), error) {
	path, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	if runtime.GOOS == "linux" {
		path = "/proc/self/exe" // also when the program has been replaced by a newer one
	}
	e, err := evaluator.New(evaluator.Options{Path: path, Command: []string{os.Args[0], "evaluate"}, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	c, err := schema.New(schema.Options{Tags: tags, Evaluator: e, Logger: log})
	if err != nil {
		e.Close()
		return nil, nil, err
	}
	return c, e.Close, nil
}
