// Command headway runs Kubernetes manifests from a Git repository on a fleet of machines.
//
// It is one binary: the control plane, the node's daemon, and the commands by which people read both. There is no
// command that changes what should run; a commit does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// An exit ends the command with a code other than 1. Its error, when there is one, has still to be shown.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e exit) Unwrap() error { return e.err }

// run executes one command line and returns its exit code: 0 success, 1 error; plan has 2 for changes.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.AddCommand(a.evaluateCommand())
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var e exit
	if errors.As(err, &e) {
		if e.err != nil {
			fmt.Fprintln(stderr, "headway:", e.err)
		}
		return e.code
	}
	fmt.Fprintln(stderr, "headway:", err)
	return 1
}
