package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func (a app) statusCommand() *cobra.Command {
	var (
		context string
		out     format
	)
	c := &cobra.Command{
		Use:   "status",
		Short: "What is deployed, and what stands in the way",
		Example: `  headway status
  headway status -o json | jq .deployed.commit`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withFleet(c.Context(), context, func(_ fleet, conn *bus.Conn) error {
				report, err := conn.Report(c.Context())
				if err != nil {
					return err
				}
				if out != formatText {
					return printData(a.stdout, out, report)
				}
				if err := printReport(a.stdout, report, time.Now()); err != nil {
					return err
				}
				state, err := conn.State(c.Context())
				if err != nil {
					return err
				}
				printPulls(a.stdout, state.Statuses)
				return nil
			})
		},
	}
	fleetFlag(c, &context)
	formatFlag(c, &out, formatText, formatJSON, formatYAML)
	return c
}

func printReport(w io.Writer, r api.Report, now time.Time) error {
	fmt.Fprintf(w, "Repository  %s\n", r.Repository)
	fmt.Fprintf(w, "Deployed    %s\n", revisionLine(r.Deployed, now))
	if r.Head.Commit != r.Deployed.Commit {
		fmt.Fprintf(w, "Head        %s\n", revisionLine(r.Head, now))
	}
	for _, p := range r.Refused {
		fmt.Fprintf(w, "Refused     %s\n", p)
	}
	fmt.Fprintln(w)
	nodes := make([][]string, len(r.Nodes))
	for i, n := range r.Nodes {
		nodes[i] = []string{n.Name, n.State, strconv.Itoa(n.Pods), n.Reason}
	}
	if err := printTable(w, []string{"NODE", "STATE", "PODS", "REASON"}, nodes); err != nil {
		return err
	}
	fmt.Fprintln(w)
	workloads := make([][]string, len(r.Workloads))
	for i, l := range r.Workloads {
		workloads[i] = []string{
			l.Ref.String(), fmt.Sprintf("%d/%d", l.Ready, l.Desired), strconv.Itoa(l.Updated),
			string(l.State), api.ShortCommit(l.Commit), l.Reason,
		}
	}
	if err := printTable(w, []string{"WORKLOAD", "READY", "UPDATED", "STATE", "COMMIT", "REASON"}, workloads); err != nil {
		return err
	}
	for _, p := range r.Pending {
		fmt.Fprintf(w, "\nPending: %s: %s", p.Pod, p.Reason)
	}
	if len(r.Pending) > 0 {
		fmt.Fprintln(w)
	}
	return nil
}

// printPulls says which images are on their way, once for all the pods of a node that wait for one.
func printPulls(w io.Writer, statuses []api.NodeStatus) {
	for _, s := range statuses {
		type pull struct {
			far  api.PullProgress
			pods int
		}
		pulls := map[string]pull{}
		for _, p := range s.Pods {
			for _, c := range slices.Concat(p.InitContainers, p.Containers) {
				if c.Pulling != nil {
					pulls[c.Image] = pull{*c.Pulling, pulls[c.Image].pods + 1}
				}
			}
		}
		for _, image := range slices.Sorted(maps.Keys(pulls)) {
			fmt.Fprintf(w, "Pulling     %s on %s for %d containers: %s\n", image, s.Node, pulls[image].pods, strings.TrimPrefix(pulls[image].far.String(), "pulling: "))
		}
	}
}

func revisionLine(r api.Revision, now time.Time) string {
	if r.Commit == "" {
		return "nothing yet"
	}
	return fmt.Sprintf("%s@%s  %s  (%s, %s ago)", r.Branch, r.Short(), subject(r.Message), r.Author, age(now, r.Time))
}
