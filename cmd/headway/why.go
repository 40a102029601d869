package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/sync/mirror"
)

// A cause is why a pod is there.
type cause struct {
	api.PodIdentity
	Node   string      `json:"node,omitempty"`
	State  string      `json:"state"` // its phase, or Pending with the reason
	Reason string      `json:"reason,omitempty"`
	Events []api.Event `json:"events,omitempty"` // of the pod, oldest first
	// Revision is the commit that asked for the pod; without a local repository that has it, its hash is all there is.
	Revision *api.Revision `json:"revision,omitempty"`
}

func (a app) whyCommand() *cobra.Command {
	var (
		contextFile, namespace, repo string
		out                          format
	)
	c := &cobra.Command{
		Use:   "why POD",
		Short: "Which commit made a pod, and for what reason",
		Long: `Say why a pod is there: the commit that asked for it, the workload whose replica it is, the reason with which it was
made, and what has happened to it since. The commit's author and message are read from the local repository, if that
has it.`,
		Example: `  headway why front-6d4cf56db6-x7k2p -n shop
  headway why front-6d4cf56db6-x7k2p --repo ~/shop -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withFleet(c.Context(), contextFile, func(_ fleet, conn *bus.Conn) error {
				d, err := describe(c.Context(), conn, "Pod", namespace, args[0])
				if err != nil {
					return err
				}
				why, err := causeOf(d)
				if err != nil {
					return err
				}
				why.Revision = lookUp(c.Context(), repo, why.Commit)
				if out != formatText {
					return printData(a.stdout, out, why)
				}
				return why.print(a.stdout, time.Now())
			})
		},
	}
	fleetFlag(c, &contextFile)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "the pod's namespace (default: the only one that has the name)")
	c.Flags().StringVar(&repo, "repo", ".", "local repository (or a folder in it)")
	formatFlag(c, &out, formatText, formatJSON, formatYAML)
	return c
}

// causeOf reads from a pod's description why it is there.
func causeOf(d description) (cause, error) {
	i := slices.IndexFunc(d.Pods, func(p api.PodStatus) bool { return p.Placement.Pod == d.Ref })
	switch {
	case i >= 0:
	case len(d.Problems) > 0:
		return cause{}, fmt.Errorf("no node has the pod: %s", d.Problems[0])
	case len(d.Pending) > 0:
		return cause{}, fmt.Errorf("no node has the pod: %s", d.Pending[0].Reason)
	default:
		return cause{}, errors.New("no node tells of the pod any more: \"headway events\" may still")
	}
	p := d.Pods[i]
	c := cause{PodIdentity: p.Placement.PodIdentity, Node: p.Placement.Node, State: string(p.Phase)}
	for _, e := range d.Events {
		if e.Ref != d.Ref {
			continue
		}
		c.Events = append(c.Events, e)
		if e.Kind == "Created" {
			c.Reason = e.Reason
		}
	}
	return c, nil
}

// lookUp finds a commit in a local repository; nil when there is none that has it.
func lookUp(ctx context.Context, repo, commit string) *api.Revision {
	if commit == "" {
		return nil
	}
	local, err := mirror.OpenLocal(repo, "")
	if err != nil {
		return nil
	}
	snapshot, err := local.At(ctx, commit)
	if err != nil {
		return nil
	}
	return &snapshot.Revision
}

func (c cause) print(w io.Writer, now time.Time) error {
	fmt.Fprintf(w, "%s  %s on %s\n", c.Pod, c.State, orNothing(c.Node))
	switch r := c.Revision; {
	case r != nil:
		fmt.Fprintf(w, "  commit %s, by %s, %s: %s\n", r.Short(), r.Author, r.Time.UTC().Format("2006-01-02 15:04:05Z"), subject(r.Message))
	case c.Commit != "":
		fmt.Fprintf(w, "  commit %s (not in the local repository: name one with --repo)\n", api.ShortCommit(c.Commit))
	}
	if c.Owner == c.Pod {
		fmt.Fprintln(w, "  it is declared itself: no workload owns it")
	} else {
		fmt.Fprintf(w, "  replica %d of %s", c.Slot, c.Owner)
		if c.Incarnation > 0 {
			fmt.Fprintf(w, ", which has been replaced %d times", c.Incarnation)
		}
		fmt.Fprintln(w)
	}
	if c.Reason != "" {
		fmt.Fprintf(w, "  made because: %s\n", c.Reason)
	}
	if len(c.Events) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return printEvents(w, c.Events, now)
}
