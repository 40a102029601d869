package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// A description is all that is known of one thing.
type description struct {
	Ref      api.Ref             `json:"ref"`
	Object   any                 `json:"object,omitempty"`
	Workload *api.WorkloadStatus `json:"workload,omitempty"`
	// Problems are why the newest commit is not in force for it, and what else was found wrong with it there.
	Problems []api.Problem `json:"problems,omitempty"`
	// Isolation is what network policies let through to and from a pod; nil is everything.
	Isolation *isolated        `json:"isolation,omitempty"`
	Pods      []api.PodStatus  `json:"pods,omitempty"`
	Pending   []api.PendingPod `json:"pending,omitempty"`
	Events    []api.Event      `json:"events,omitempty"`
}

func (a app) describeCommand() *cobra.Command {
	var (
		contextFile, namespace string
		out                    format
	)
	c := &cobra.Command{
		Use:   "describe KIND NAME",
		Short: "Everything known of one object or pod, with its events",
		Example: `  headway describe deployment front -n shop
  headway describe pod front-6d4cf56db6-x7k2p -n shop`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeKind,
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := parseKind(args[0])
			if err != nil {
				return err
			}
			return withFleet(c.Context(), contextFile, func(_ fleet, conn *bus.Conn) error {
				d, err := describe(c.Context(), conn, kind, namespace, args[1])
				if err != nil {
					return err
				}
				if out == formatText {
					return d.print(a.stdout, time.Now())
				}
				return printData(a.stdout, out, d)
			})
		},
	}
	fleetFlag(c, &contextFile)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "its namespace (default: the only one that has the name)")
	formatFlag(c, &out, formatText, formatJSON, formatYAML)
	return c
}

func describe(ctx context.Context, conn *bus.Conn, kind, namespace, name string) (description, error) {
	v, err := fetchView(ctx, conn, kind, time.Now())
	if err != nil {
		return description{}, err
	}
	state, err := conn.State(ctx)
	if err != nil {
		return description{}, err
	}
	v.rows = slices.DeleteFunc(append(v.rows, unseen(v.rows, state.Report, kind)...), func(r row) bool {
		return r.ref.Name != name || namespace != "" && r.ref.Namespace != namespace
	})
	switch {
	case len(v.rows) == 0:
		return description{}, fmt.Errorf("no %s is named %q", kind, name)
	case len(v.rows) > 1:
		return description{}, fmt.Errorf("%d namespaces have a %s named %q: choose one with -n", len(v.rows), kind, name)
	}
	d := description{Ref: v.rows[0].ref, Object: v.rows[0].data}
	for _, s := range state.Statuses {
		for _, p := range s.Pods {
			if p.Placement.Owner == d.Ref || p.Placement.Pod == d.Ref || selectedBy(d.Object, p) {
				d.Pods = append(d.Pods, p)
			}
		}
	}
	if kind == "Pod" && len(d.Pods) > 0 {
		d.Isolation = isolationOf(state.Assignments, d.Pods[0].Placement.UID)
	}
	if state.Report != nil {
		d.fromReport(*state.Report)
	}
	err = conn.Events(ctx, time.Time{}, false, func(e api.Event) {
		if e.Ref == d.Ref || slices.ContainsFunc(d.Pods, func(p api.PodStatus) bool { return p.Placement.Pod == e.Ref }) {
			d.Events = append(d.Events, e)
		}
	})
	return d, err
}

// unseen are the things of a kind that only the controller's report has: what a commit declares and cannot be, and pods that
// have no node.
func unseen(seen []row, report *api.Report, kind string) []row {
	if report == nil {
		return nil
	}
	var refs []api.Ref
	for _, p := range report.Refused {
		refs = append(refs, p.Ref)
	}
	for _, p := range report.Pending {
		refs = append(refs, p.Pod)
	}
	slices.SortFunc(refs, api.Ref.Compare)
	var rows []row
	for _, ref := range slices.Compact(refs) {
		if ref.Kind == kind && !slices.ContainsFunc(seen, func(r row) bool { return r.ref == ref }) {
			rows = append(rows, row{ref: ref})
		}
	}
	return rows
}

// fromReport takes in what the controller says.
func (d *description) fromReport(report api.Report) {
	for _, w := range report.Workloads {
		if w.Ref == d.Ref {
			d.Workload = &w
		}
	}
	for _, p := range report.Pending {
		if p.Owner == d.Ref || p.Pod == d.Ref {
			d.Pending = append(d.Pending, p)
		}
	}
	for _, p := range report.Refused {
		if p.Ref == d.Ref {
			d.Problems = append(d.Problems, p)
		}
	}
}

func (d description) print(w io.Writer, now time.Time) error {
	fmt.Fprintf(w, "%s\n", d.Ref)
	if n, ok := d.Object.(api.NodeInfo); ok {
		fmt.Fprintf(w, "  %s, %dm CPU and %dMi memory for pods; %s, %s\n",
			strings.Join(n.Addresses, ", "), n.Allocatable.MilliCPU, n.Allocatable.Memory>>20, n.Runtime, n.Version)
		for _, name := range slices.Sorted(maps.Keys(n.Extended)) {
			fmt.Fprintf(w, "  %s: %d\n", name, n.Extended[name])
		}
	}
	if s := d.Workload; s != nil {
		fmt.Fprintf(w, "  %s: %d desired, %d updated, %d ready, %d available; commit %s\n  %s\n",
			s.State, s.Desired, s.Updated, s.Ready, s.Available, api.ShortCommit(s.Commit), s.Reason)
	}
	for _, p := range d.Problems {
		what := "Refused"
		if p.Warning {
			what = "Warning"
		}
		fmt.Fprintf(w, "  %s: %s\n", what, p)
	}
	if d.Isolation != nil {
		d.Isolation.print(w)
	}
	if scaler, ok := d.Object.(autoscalerState); ok {
		printScale(w, scaler)
	}
	for _, p := range d.Pending {
		fmt.Fprintf(w, "\n%s  Pending: %s\n", p.Pod, p.Reason)
	}
	for _, p := range d.Pods {
		fmt.Fprintf(w, "\n%s  %s on %s, %s, commit %s\n", p.Placement.Pod, p.Phase, p.Placement.Node, orNothing(p.IP), api.ShortCommit(p.Placement.Commit))
		if p.Message != "" {
			fmt.Fprintf(w, "  %s: %s\n", p.Reason, p.Message)
		}
		for _, c := range p.Containers {
			fmt.Fprintf(w, "  %s  %s  %s, %d restarts, ready %t", c.Name, c.Image, c.State, c.Restarts, c.Ready)
			if why := strings.TrimSpace(c.Reason + " " + c.Message); why != "" {
				fmt.Fprintf(w, " (%s)", why)
			}
			fmt.Fprintln(w)
			if len(c.Devices) > 0 {
				fmt.Fprintf(w, "    devices: %s\n", strings.Join(c.Devices, ", "))
			}
		}
	}
	if len(d.Events) > 0 {
		fmt.Fprintln(w)
		return printEvents(w, d.Events, now)
	}
	return nil
}

func printEvents(w io.Writer, events []api.Event, now time.Time) error {
	rows := make([][]string, len(events))
	for i, e := range events {
		rows[i] = []string{age(now, e.Time), e.Kind, e.Ref.String(), api.ShortCommit(e.Commit), e.Reason}
	}
	return printTable(w, []string{"AGE", "EVENT", "WHAT", "COMMIT", "REASON"}, rows)
}
