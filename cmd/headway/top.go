package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// A useRow is what one pod, container or node uses.
type useRow struct {
	Node      string  `json:"node"`
	Pod       api.Ref `json:"pod,omitzero"`
	Container string  `json:"container,omitempty"`
	MilliCPU  int64   `json:"milliCPU"`
	Memory    uint64  `json:"memory"` // bytes
	// Of a node, what pods can have of it.
	Allocatable api.Resources `json:"allocatable,omitzero"`
}

type topOptions struct {
	contextFile, namespace, selector, sort string
	containers                             bool
	interval                               time.Duration
	out                                    format
}

func (a app) topCommand() *cobra.Command {
	var o topOptions
	c := &cobra.Command{
		Use:   "top pods|nodes",
		Short: "What pods and nodes use of processors and memory",
		Long: `Measure what pods or nodes use: of processors the mean over the interval, in thousandths of a core, and of memory the
working set, which leaves out file pages that were not used of late.`,
		Example: `  headway top pods -n shop --containers
  headway top pods --sort-by memory -l app=front
  headway top nodes -o json`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"pods", "nodes"},
		RunE: func(c *cobra.Command, args []string) error {
			selector, err := labels.Parse(o.selector)
			switch {
			case err != nil:
				return fmt.Errorf("-l %s: %w", o.selector, err)
			case o.sort != "name" && o.sort != "cpu" && o.sort != "memory":
				return fmt.Errorf("--sort-by %s: it is name, cpu or memory", o.sort)
			case o.interval < minInterval:
				return fmt.Errorf("--interval %s: it is %s at least", o.interval, minInterval)
			}
			return withFleet(c.Context(), o.contextFile, func(_ fleet, conn *bus.Conn) error {
				return a.top(c.Context(), conn, o, args[0] == "nodes", selector)
			})
		},
	}
	fleetFlag(c, &o.contextFile)
	f := c.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "only pods of this namespace (default: all)")
	f.StringVarP(&o.selector, "selector", "l", "", "only pods with these labels, as name=value,...")
	f.BoolVar(&o.containers, "containers", false, "each container of the pods")
	f.StringVar(&o.sort, "sort-by", "name", "name, or the most of cpu or memory first")
	f.DurationVar(&o.interval, "interval", time.Second, "time over which the use of processors is measured")
	formatFlag(c, &o.out, formatTable, formatJSON, formatYAML)
	return c
}

// minInterval is the shortest over which the use of processors means anything.
const minInterval = 100 * time.Millisecond

func (a app) top(ctx context.Context, conn *bus.Conn, o topOptions, nodes bool, selector labels.Selector) error {
	state, err := conn.State(ctx)
	if err != nil {
		return err
	}
	measured, silent := measureNodes(ctx, conn, state.Nodes, o.interval)
	var rows []useRow
	if nodes {
		rows = nodeRows(measured, state.Nodes)
	} else {
		rows = podRows(measured, o.podsOf(state.Statuses, selector), o.containers)
	}
	slices.SortStableFunc(rows, func(a, b useRow) int {
		switch o.sort {
		case "cpu":
			return cmp.Compare(b.MilliCPU, a.MilliCPU)
		case "memory":
			return cmp.Compare(b.Memory, a.Memory)
		}
		return 0
	})
	return errors.Join(printUse(a, o, rows, nodes), silent)
}

// podsOf are the UIDs of the pods that the flags choose.
func (o topOptions) podsOf(statuses []api.NodeStatus, selector labels.Selector) map[string]bool {
	chosen := map[string]bool{}
	for _, s := range statuses {
		for _, p := range s.Pods {
			if (o.namespace == "" || p.Placement.Pod.Namespace == o.namespace) && selector.Matches(labels.Set(p.Placement.Labels)) {
				chosen[p.Placement.UID] = true
			}
		}
	}
	return chosen
}

// A measurement is what a node used at the beginning of an interval and at its end.
type measurement struct{ before, after api.NodeUsage }

// measureNodes asks all nodes twice. Those that do not answer are in the error, and harm no other.
func measureNodes(ctx context.Context, conn *bus.Conn, nodes []api.NodeInfo, interval time.Duration) ([]measurement, error) {
	var all sync.WaitGroup
	measured, failed := make([]measurement, len(nodes)), make([]error, len(nodes))
	for i, n := range nodes {
		all.Go(func() {
			measured[i], failed[i] = measureNode(ctx, conn, n.Name, interval)
		})
	}
	all.Wait()
	measured = slices.DeleteFunc(measured, func(m measurement) bool { return m.after.Node == "" })
	slices.SortFunc(measured, func(a, b measurement) int { return cmp.Compare(a.after.Node, b.after.Node) })
	return measured, errors.Join(failed...)
}

func measureNode(ctx context.Context, conn *bus.Conn, node string, interval time.Duration) (measurement, error) {
	before, err := askUsage(ctx, conn, node)
	if err != nil {
		return measurement{}, err
	}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return measurement{}, ctx.Err()
	}
	after, err := askUsage(ctx, conn, node)
	if err != nil {
		return measurement{}, err
	}
	return measurement{before, after}, nil
}

func askUsage(ctx context.Context, conn *bus.Conn, node string) (api.NodeUsage, error) {
	var usage api.NodeUsage
	s, err := conn.OpenStream(ctx, node, api.StreamRequest{Usage: true})
	if err != nil {
		return usage, fmt.Errorf("node %s: %w", node, err)
	}
	defer s.Close()
	var out, notes bytes.Buffer
	if err := receive(ctx, s, &out, &notes); err != nil {
		return usage, fmt.Errorf("node %s: %w", node, err)
	}
	if err := json.Unmarshal(out.Bytes(), &usage); err != nil {
		return usage, fmt.Errorf("node %s: its answer cannot be read: %w", node, err)
	}
	return usage, nil
}

func nodeRows(measured []measurement, nodes []api.NodeInfo) []useRow {
	rows := make([]useRow, 0, len(measured))
	for _, m := range measured {
		r := useRow{Node: m.after.Node, MilliCPU: m.after.Machine.MilliCPU(m.before.Machine), Memory: m.after.Machine.Memory}
		if i := slices.IndexFunc(nodes, func(n api.NodeInfo) bool { return n.Name == m.after.Node }); i >= 0 {
			r.Allocatable = nodes[i].Allocatable
		}
		rows = append(rows, r)
	}
	return rows
}

// podRows sums what the containers of each chosen pod use, or lists them. A container that has begun meanwhile counts
// from its beginning.
func podRows(measured []measurement, chosen map[string]bool, containers bool) []useRow {
	var rows []useRow
	at := map[string]int{} // the row of each pod or container
	for _, m := range measured {
		before := map[string]api.ContainerUsage{}
		for _, c := range m.before.Containers {
			before[c.UID+"/"+c.Container] = c
		}
		for _, c := range m.after.Containers {
			if !chosen[c.UID] {
				continue
			}
			row, key := useRow{Node: m.after.Node, Pod: c.Pod}, c.UID
			if containers {
				row.Container, key = c.Container, c.UID+"/"+c.Container
			}
			i, known := at[key]
			if !known {
				i = len(rows)
				at[key], rows = i, append(rows, row)
			}
			earlier, same := before[c.UID+"/"+c.Container]
			if !same || !earlier.Started.Equal(c.Started) {
				earlier.Usage = api.Usage{Time: c.Started}
			}
			rows[i].MilliCPU += c.MilliCPU(earlier.Usage)
			rows[i].Memory += c.Memory
		}
	}
	slices.SortStableFunc(rows, func(a, b useRow) int {
		return cmp.Or(cmp.Compare(a.Pod.String(), b.Pod.String()), cmp.Compare(a.Container, b.Container))
	})
	return rows
}

func printUse(a app, o topOptions, rows []useRow, nodes bool) error {
	if o.out != formatTable {
		if rows == nil {
			rows = []useRow{}
		}
		return printData(a.stdout, o.out, rows)
	}
	header := []string{"NAMESPACE", "NAME", "CPU", "MEMORY"}
	switch {
	case nodes:
		header = []string{"NAME", "CPU", "CPU%", "MEMORY", "MEMORY%"}
	case o.containers:
		header = []string{"NAMESPACE", "NAME", "CONTAINER", "CPU", "MEMORY"}
	}
	table := make([][]string, len(rows))
	for i, r := range rows {
		cpu, memory := fmt.Sprintf("%dm", r.MilliCPU), fmt.Sprintf("%dMi", r.Memory>>20)
		switch {
		case nodes:
			table[i] = []string{
				r.Node, cpu, percent(r.MilliCPU, r.Allocatable.MilliCPU), memory, percent(int64(r.Memory), r.Allocatable.Memory),
			}
		case o.containers:
			table[i] = []string{r.Pod.Namespace, r.Pod.Name, r.Container, cpu, memory}
		default:
			table[i] = []string{r.Pod.Namespace, r.Pod.Name, cpu, memory}
		}
	}
	return printTable(a.stdout, header, table)
}

func percent(part, whole int64) string {
	if whole <= 0 {
		return ""
	}
	return fmt.Sprintf("%d%%", part*100/whole)
}
