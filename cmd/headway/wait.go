package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func (a app) waitCommand() *cobra.Command {
	var (
		contextFile, condition string
		timeout                time.Duration
	)
	c := &cobra.Command{
		Use:   "wait [REF]",
		Short: "Wait until a workload is ready or gone, or a commit is rolled out",
		Long: `Wait until a workload is ready (all its pods of the newest template available) or gone, until a commit is
deployed and every workload is complete, or until a node counts as lost. REF is Kind/namespace/name; without it the condition holds for all workloads.`,
		Example: `  headway wait Deployment/shop/front --for=ready --timeout 60s
  headway wait --for=commit=$(git rev-parse HEAD)`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			met, err := parseCondition(args, condition)
			if err != nil {
				return err
			}
			return withFleet(c.Context(), contextFile, func(_ fleet, conn *bus.Conn) error {
				return a.await(c.Context(), conn, timeout, met)
			})
		},
	}
	fleetFlag(c, &contextFile)
	c.Flags().StringVar(&condition, "for", "ready", "ready, gone, commit=SHA, or lost=NODE")
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait")
	return c
}

// A met condition returns an empty string, another one what is still missing.
type metFunc func(api.Report) (missing string)

func parseCondition(args []string, condition string) (metFunc, error) {
	var ref api.Ref
	if len(args) == 1 {
		var err error
		if ref, err = api.ParseRef(args[0]); err != nil {
			return nil, err
		}
	}
	commit, isCommit := strings.CutPrefix(condition, "commit=")
	switch {
	case isCommit && commit != "":
		return func(r api.Report) string {
			if !strings.HasPrefix(r.Deployed.Commit, commit) {
				return fmt.Sprintf("%s is deployed, not %s%s", orNothing(r.Deployed.Short()), commit, refusals(r))
			}
			return unready(r, ref)
		}, nil
	case strings.HasPrefix(condition, "lost="):
		return func(r api.Report) string { return notLost(r, strings.TrimPrefix(condition, "lost=")) }, nil
	case condition == "ready":
		return func(r api.Report) string { return unready(r, ref) }, nil
	case condition == "gone" && !ref.IsZero():
		return func(r api.Report) string {
			for _, w := range r.Workloads {
				if w.Ref == ref {
					return fmt.Sprintf("%s has %d pods", ref, w.Ready)
				}
			}
			return ""
		}, nil
	case condition == "gone":
		return nil, errors.New("--for=gone needs the REF of what should be gone")
	}
	return nil, fmt.Errorf("unknown condition %q: it is ready, gone, commit=SHA, or lost=NODE", condition)
}

// unready says what is not complete of a workload, or of all when the ref is zero.
func unready(r api.Report, ref api.Ref) string {
	found := ref.IsZero()
	for _, w := range r.Workloads {
		if !ref.IsZero() && w.Ref != ref {
			continue
		}
		found = true
		if w.State != api.RolloutComplete {
			return fmt.Sprintf("%s: %d of %d ready, %s: %s", w.Ref, w.Ready, w.Desired, w.State, w.Reason)
		}
	}
	if !found {
		return fmt.Sprintf("%s is not deployed%s", ref, refusals(r))
	}
	if r.Deployed.Commit == "" {
		return "nothing is deployed yet" + refusals(r)
	}
	return ""
}

// notLost says how a node is that is not lost.
func notLost(r api.Report, name string) string {
	for _, n := range r.Nodes {
		if n.Name == name && n.State == "Lost" {
			return ""
		} else if n.Name == name {
			return fmt.Sprintf("node %s is %s", name, n.State)
		}
	}
	return "no node is named " + name
}

func refusals(r api.Report) string {
	for _, p := range r.Refused {
		if !p.Warning {
			return "; refused: " + p.String()
		}
	}
	return ""
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// await returns when a report meets the condition; past the timeout the error says what was still missing.
func (a app) await(ctx context.Context, conn *bus.Conn, timeout time.Duration, met metFunc) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	watch, stop := context.WithCancel(ctx)
	defer stop()
	missing, done := "the controller has reported nothing yet", false
	err := conn.WatchReport(watch, func(r api.Report) {
		if done {
			return
		}
		last := missing
		if missing = met(r); missing == "" {
			done = true
			stop()
		} else if missing != last && a.interactive() {
			fmt.Fprintln(a.stderr, missing)
		}
	})
	switch {
	case done:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("not within %s: %s", timeout, missing)
	}
	return err
}
