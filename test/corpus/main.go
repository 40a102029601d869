// Command corpus compiles the manifests of real repositories and prints how many load: by document, by directory and by
// repository, with the fields and kinds that keep most from loading.
//
// It exits with 1 if a document made the compiler panic or hang; a low score is for people to judge.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("corpus", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("corpus", defaultCorpus, "a directory with one of manifests for each repository")
	output := flags.String("o", "text", "text or json")
	top := flags.Int("top", 30, "how many blocking fields to print")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *output != "text" && *output != "json" {
		return fmt.Errorf("-o %s: it is text or json", *output)
	}
	s, err := newScorer()
	if err != nil {
		return err
	}
	result, err := s.corpus(ctx, *dir)
	if err != nil {
		return err
	}
	if *output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(result)
	} else {
		_, err = io.WriteString(stdout, result.text(*top))
	}
	return errors.Join(err, result.failure())
}

// defaultCorpus is where the corpus lies beside the project's root, from which the Makefile starts this program.
const defaultCorpus = "../shared/corpus"
