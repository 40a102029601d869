package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func (a app) execCommand() *cobra.Command {
	var (
		t          target
		stdin, tty bool
	)
	c := &cobra.Command{
		Use:   "exec POD|KIND/NAME -- COMMAND [ARG...]",
		Short: "Run a command in a pod's container",
		Long: `Run a command in a pod's container, and end with its exit code. Of a workload it is the first pod that is ready.

With -t the command runs on a terminal of its own, which has the size of yours.`,
		Example: `  headway exec -n shop catalog-7f9c6b8d5-2k4qz -- /bin/catalog --help
  headway exec -it deployment/front -- sh`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			command, err := commandOf(args, c.ArgsLenAtDash())
			if err != nil {
				return err
			}
			options := api.ExecOptions{Command: command, Stdin: stdin, TTY: tty}
			return withFleet(c.Context(), t.contextFile, func(_ fleet, conn *bus.Conn) error {
				pod, err := t.onePod(c.Context(), conn, args[0])
				if err != nil {
					return err
				}
				return a.exec(c.Context(), conn, pod.Placement, t.container, options)
			})
		},
	}
	dashedCommand(c)
	t.flags(c)
	c.Flags().BoolVarP(&stdin, "stdin", "i", false, "pass standard input on")
	c.Flags().BoolVarP(&tty, "tty", "t", false, "run the command on a terminal")
	return c
}

// commandOf is the command that follows the first argument. Flags before a dash are this command's own, wherever they stand; a
// command that has none needs no dash. dash is how many arguments there are before it, negative if there is none.
func commandOf(args []string, dash int) ([]string, error) {
	switch {
	case dash > 1:
		return nil, fmt.Errorf("%q is before the \"--\": all of what is to run follows it, as in \"headway exec POD -- ls /\"", args[1])
	case dash == 0:
		return nil, errors.New("where it is to run is missing before the \"--\", as in \"headway exec POD -- ls /\"")
	case len(args) < 2:
		return nil, errors.New("what is to run is missing: it follows the pod, as in \"headway exec POD -- ls /\"")
	}
	return args[1:], nil
}

// dashedCommand says of a flag that is not known where those of the command are.
func dashedCommand(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; flags of what is to run follow a \"--\"", err)
	})
}

// exec runs a command with this command's streams.
func (a app) exec(ctx context.Context, conn *bus.Conn, pod api.Placement, container string, options api.ExecOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	terminal := -1 // the descriptor of a person's terminal
	if f, ok := a.stdin.(*os.File); ok && options.TTY && term.IsTerminal(int(f.Fd())) {
		terminal = int(f.Fd())
		options.Size = terminalSize(terminal)
	}
	s, err := openStream(ctx, conn, pod, api.StreamRequest{Container: container, Exec: &options})
	if err != nil {
		return err
	}
	defer s.Close()
	if terminal >= 0 {
		if options.Stdin {
			before, err := term.MakeRaw(terminal)
			if err != nil {
				return err
			}
			defer func() { _ = term.Restore(terminal, before) }() // nothing is left to do about a failure
		}
		go sendSizes(ctx, s, terminal)
	}
	if options.Stdin {
		go a.sendInput(ctx, s)
	}
	return receive(ctx, s, a.stdout, a.stderr)
}

func terminalSize(terminal int) *api.TerminalSize {
	columns, rows, err := term.GetSize(terminal)
	if err != nil {
		return nil
	}
	return &api.TerminalSize{Columns: uint16(columns), Rows: uint16(rows)}
}

// sendSizes tells of each change of a terminal's size until ctx is done or the stream has ended.
func sendSizes(ctx context.Context, s *bus.Stream, terminal int) {
	changes, stop := sizeChanges()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
			if size := terminalSize(terminal); size != nil && s.Send(ctx, api.StreamFrame{Resize: size}) != nil {
				return
			}
		}
	}
}

// sendInput passes standard input on until it ends or the stream does.
func (a app) sendInput(ctx context.Context, s *bus.Stream) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := a.stdin.Read(buffer)
		if n > 0 && s.Send(ctx, api.StreamFrame{Stdin: buffer[:n]}) != nil {
			return
		}
		if err != nil {
			// The far side learns of the end, or has gone already.
			_ = s.Send(ctx, api.StreamFrame{StdinEOF: true})
			return
		}
	}
}

func (a app) attachCommand() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "attach POD|KIND/NAME",
		Short: "What a container writes from now on",
		Long: `Show what a running container writes from now on, until it ends. Containers have no standard input here:
"headway exec -it" runs a command that has one.`,
		Example: `  headway attach deployment/front -n shop`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withFleet(c.Context(), t.contextFile, func(_ fleet, conn *bus.Conn) error {
				pod, err := t.onePod(c.Context(), conn, args[0])
				if err != nil {
					return err
				}
				options := api.LogOptions{Follow: true, Tail: new(0)}
				s, err := openStream(c.Context(), conn, pod.Placement, api.StreamRequest{Container: t.container, Logs: &options})
				if err != nil {
					return err
				}
				defer s.Close()
				return receive(c.Context(), s, a.stdout, a.stderr)
			})
		},
	}
	t.flags(c)
	return c
}
