package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

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

// compilerOptions say how a command compiles.
type compilerOptions struct {
	tags map[string]string
	// cache is a directory where evaluations outlive the command; empty keeps none.
	cache string
}

// userCache is where commands that a person runs keep evaluations; empty if there is no place to.
func userCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "headway")
}

// tagsFlag collects CUE tags, each with a value or without.
type tagsFlag map[string]string

func (t tagsFlag) String() string {
	all := make([]string, 0, len(t))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		all = append(all, strings.TrimSuffix(name+"="+t[name], "="))
	}
	return strings.Join(all, ",")
}

// Set takes name=value, or a name alone, several of them with commas between.
func (t tagsFlag) Set(text string) error {
	for tag := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(tag, "=")
		if name == "" {
			return fmt.Errorf("%q has no name: write name=value, or a name alone", tag)
		}
		t[name] = value
	}
	return nil
}

func (tagsFlag) Type() string { return "tag" }

// newCompiler makes a compiler that leaves to a child process what has no bound. The function it returns ends that.
func newCompiler(o compilerOptions, log *slog.Logger) (*schema.Compiler, func(), error) {
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
	options := schema.Options{Tags: o.tags, Evaluator: e, Logger: log, CacheDir: o.cache}
	c, err := schema.New(options)
	if err != nil && o.cache != "" {
		options.CacheDir = "" // it only saves time
		c, err = schema.New(options)
	}
	if err != nil {
		e.Close()
		return nil, nil, err
	}
	return c, e.Close, nil
}
