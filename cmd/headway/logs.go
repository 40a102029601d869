package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func (a app) logsCommand() *cobra.Command {
	var (
		contextFile, namespace, container string
		options                           api.LogOptions
		tail                              int
	)
	c := &cobra.Command{
		Use:   "logs POD",
		Short: "What a pod's container wrote",
		Example: `  headway logs front-6d4cf56db6-x7k2p -n shop
  headway logs -f --tail 20 front-6d4cf56db6-x7k2p`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("tail") {
				options.Tail = &tail
			}
			return a.stream(c.Context(), contextFile, namespace, args[0], api.StreamRequest{Container: container, Logs: &options})
		},
	}
	fleetFlag(c, &contextFile)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "the pod's namespace (default: the only one that has the name)")
	c.Flags().StringVarP(&container, "container", "c", "", "which container (default: the first)")
	c.Flags().BoolVarP(&options.Follow, "follow", "f", false, "go on with what is written next")
	c.Flags().BoolVarP(&options.Previous, "previous", "p", false, "the run before the last restart")
	c.Flags().IntVar(&tail, "tail", 0, "only so many of the last lines")
	return c
}

func (a app) execCommand() *cobra.Command {
	var (
		contextFile, namespace, container string
		stdin                             bool
	)
	c := &cobra.Command{
		Use:     "exec POD -- COMMAND [ARG...]",
		Short:   "Run a command in a pod's container",
		Long:    "Run a command in a pod's container, and end with its exit code.",
		Example: `  headway exec -n shop catalog-7f9c6b8d5-2k4qz -- /bin/catalog --help`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			request := api.StreamRequest{Container: container, Exec: &api.ExecOptions{Command: command(args), Stdin: stdin}}
			return a.stream(c.Context(), contextFile, namespace, args[0], request)
		},
	}
	// What follows the pod's name belongs to the command.
	c.Flags().SetInterspersed(false)
	fleetFlag(c, &contextFile)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "the pod's namespace (default: the only one that has the name)")
	c.Flags().StringVarP(&container, "container", "c", "", "which container (default: the first)")
	c.Flags().BoolVarP(&stdin, "stdin", "i", false, "pass standard input on")
	return c
}

// command is what follows the first argument, with or without a dash between.
func command(args []string) []string {
	if args[1] == "--" {
		return args[2:]
	}
	return args[1:]
}

// stream finds the pod's node and copies what it sends until the stream ends.
func (a app) stream(ctx context.Context, contextFile, namespace, pod string, request api.StreamRequest) error {
	return withFleet(ctx, contextFile, func(_ fleet, conn *bus.Conn) error {
		placement, err := findPod(ctx, conn, namespace, pod)
		if err != nil {
			return err
		}
		request.Pod = placement.Pod
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s, err := conn.OpenStream(ctx, placement.Node, request)
		if err != nil {
			return fmt.Errorf("node %s: %w", placement.Node, err)
		}
		defer s.Close()
		if request.Exec != nil && request.Exec.Stdin {
			go a.sendInput(ctx, s)
		}
		return a.receive(ctx, s)
	})
}

func findPod(ctx context.Context, conn *bus.Conn, namespace, name string) (api.Placement, error) {
	state, err := conn.State(ctx)
	if err != nil {
		return api.Placement{}, err
	}
	var found []api.Placement
	for _, s := range state.Statuses {
		for _, p := range s.Pods {
			if p.Placement.Pod.Name == name && (namespace == "" || p.Placement.Pod.Namespace == namespace) {
				found = append(found, p.Placement)
			}
		}
	}
	switch len(found) {
	case 0:
		return api.Placement{}, fmt.Errorf("no node reports a pod %q: \"headway get pods\" lists them", name)
	case 1:
		return found[0], nil
	}
	return api.Placement{}, fmt.Errorf("%d namespaces have a pod %q: choose one with -n", len(found), name)
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

func (a app) receive(ctx context.Context, s *bus.Stream) error {
	for {
		frame, err := s.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return err
		}
		if _, err := a.stdout.Write(frame.Stdout); err != nil {
			return err
		}
		if _, err := a.stderr.Write(frame.Stderr); err != nil {
			return err
		}
		switch {
		case frame.Error != "":
			return errors.New(frame.Error)
		case frame.ExitCode != nil && *frame.ExitCode != 0:
			return exit{code: *frame.ExitCode}
		case frame.ExitCode != nil:
			return nil
		}
	}
}

// subject is the first line of a commit's message.
func subject(message string) string {
	for i, r := range message {
		if r == '\n' {
			return message[:i]
		}
	}
	return message
}
