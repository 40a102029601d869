package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// An eventFilter chooses events. What is empty chooses all.
type eventFilter struct {
	kind, name, namespace string
	warnings              bool
}

func (f eventFilter) chooses(e api.Event) bool {
	return (f.kind == "" || e.Ref.Kind == f.kind) && (f.name == "" || e.Ref.Name == f.name) &&
		(f.namespace == "" || e.Ref.Namespace == f.namespace) && (!f.warnings || e.Warning)
}

func (a app) eventsCommand() *cobra.Command {
	var (
		contextFile, object string
		filter              eventFilter
		follow              bool
		since               time.Duration
		out                 format
	)
	c := &cobra.Command{
		Use:   "events",
		Short: "What happened, why, and by which commit",
		Example: `  headway events
  headway events --for pod/front-6d4cf56db6-x7k2p -n shop
  headway events --since 10m --warnings
  headway events --watch -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := ago(time.Now(), since)
			if err != nil {
				return err
			}
			if object != "" {
				if filter.kind, filter.name, err = parseObject(object); err != nil {
					return fmt.Errorf("--for: %w", err)
				}
			}
			return withFleet(c.Context(), contextFile, func(_ fleet, conn *bus.Conn) error {
				var failed error
				err := conn.Events(c.Context(), from, follow, func(e api.Event) {
					switch {
					case !filter.chooses(e):
					case out == formatText:
						failed = errors.Join(failed, printEvent(a.stdout, e))
					default:
						failed = errors.Join(failed, printData(a.stdout, out, e))
					}
				})
				return errors.Join(failed, err)
			})
		},
	}
	fleetFlag(c, &contextFile)
	f := c.Flags()
	f.StringVar(&object, "for", "", "only events of one object, as kind/name")
	f.StringVarP(&filter.namespace, "namespace", "n", "", "only events of this namespace (default: all)")
	f.BoolVar(&filter.warnings, "warnings", false, "only warnings")
	f.DurationVar(&since, "since", 0, "only what happened within this time, such as 10m")
	f.BoolVarP(&follow, "watch", "w", false, "go on with new events")
	f.BoolVarP(&follow, "follow", "f", false, "the same as --watch")
	formatFlag(c, &out, formatText, formatJSON, formatYAML)
	return c
}

// ago is the time so long before now; zero for no time at all.
func ago(now time.Time, d time.Duration) (time.Time, error) {
	switch {
	case d < 0:
		return time.Time{}, fmt.Errorf("--since %s lies in the future: it is how long ago, such as 10m", d)
	case d == 0:
		return time.Time{}, nil
	}
	return now.Add(-d), nil
}

func printEvent(w io.Writer, e api.Event) error {
	_, err := fmt.Fprintf(w, "%s  %-12s %s  %s  %s\n", e.Time.Local().Format("15:04:05.000"), e.Kind, e.Ref, api.ShortCommit(e.Commit), e.Reason)
	return err
}
