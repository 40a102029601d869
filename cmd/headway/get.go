package main

import (
	"cmp"
	"context"
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

// A view is what get prints: the same things as rows and as data.
type view struct {
	header, wide []string
	rows         []row
}

// A row is one thing: its cells, those that only wide shows, and the data behind them.
type row struct {
	ref   api.Ref
	cells []string
	wide  []string
	data  any
}

// shownKinds are the kinds that can be listed, each with what people call it; the first name is the one that is offered.
var shownKinds = []struct {
	kind  string
	names []string
}{
	{"Pod", []string{"pods", "pod", "po"}},
	{"Node", []string{"nodes", "node", "no"}},
	{"Deployment", []string{"deployments", "deployment", "deploy"}},
	{"StatefulSet", []string{"statefulsets", "statefulset", "sts"}},
	{"DaemonSet", []string{"daemonsets", "daemonset", "ds"}},
	{"ReplicaSet", []string{"replicasets", "replicaset", "rs"}},
	{"ReplicationController", []string{"replicationcontrollers", "replicationcontroller", "rc"}},
	{"Job", []string{"jobs", "job"}},
	{"CronJob", []string{"cronjobs", "cronjob", "cj"}},
	{"HorizontalPodAutoscaler", []string{"horizontalpodautoscalers", "horizontalpodautoscaler", "hpa"}},
	{"PodDisruptionBudget", []string{"poddisruptionbudgets", "poddisruptionbudget", "pdb"}},
	{"Service", []string{"services", "service", "svc"}},
	{"Ingress", []string{"ingresses", "ingress", "ing"}},
	{"IngressClass", []string{"ingressclasses", "ingressclass"}},
	{"NetworkPolicy", []string{"networkpolicies", "networkpolicy", "netpol"}},
	{"ConfigMap", []string{"configmaps", "configmap", "cm"}},
	{"Secret", []string{"secrets", "secret"}},
	{"PersistentVolume", []string{"persistentvolumes", "persistentvolume", "pv"}},
	{"PersistentVolumeClaim", []string{"persistentvolumeclaims", "persistentvolumeclaim", "pvc"}},
	{"StorageClass", []string{"storageclasses", "storageclass", "sc"}},
	{"PriorityClass", []string{"priorityclasses", "priorityclass", "pc"}},
	{"LimitRange", []string{"limitranges", "limitrange", "limits"}},
	{"ResourceQuota", []string{"resourcequotas", "resourcequota", "quota"}},
	{"Namespace", []string{"namespaces", "namespace", "ns"}},
	{"Cluster", []string{"clusters", "cluster"}},
}

// kindNames are the names that are offered.
func kindNames() []string {
	var names []string
	for _, k := range shownKinds {
		names = append(names, k.names[0])
	}
	return names
}

func parseKind(s string) (string, error) {
	for _, k := range shownKinds {
		if slices.Contains(k.names, strings.ToLower(s)) {
			return k.kind, nil
		}
	}
	return "", fmt.Errorf("unknown kind %q: it is one of %s", s, strings.Join(kindNames(), ", "))
}

func (a app) getCommand() *cobra.Command {
	var (
		contextFile, namespace string
		out                    format
	)
	c := &cobra.Command{
		Use:   "get KIND [NAME]",
		Short: "List objects and pods",
		Example: `  headway get pods
  headway get pods -n shop -o wide
  headway get deployment front -n shop -o yaml`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeKind,
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := parseKind(args[0])
			if err != nil {
				return err
			}
			return withFleet(c.Context(), contextFile, func(_ fleet, conn *bus.Conn) error {
				v, err := fetchView(c.Context(), conn, kind, time.Now())
				if err != nil {
					return err
				}
				v.rows = slices.DeleteFunc(v.rows, func(r row) bool {
					return namespace != "" && r.ref.Namespace != namespace || len(args) == 2 && r.ref.Name != args[1]
				})
				if len(args) == 2 && len(v.rows) == 0 {
					return fmt.Errorf("no %s is named %q", kind, args[1])
				}
				return v.print(a.stdout, out, len(args) == 2)
			})
		},
	}
	fleetFlag(c, &contextFile)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace (default: all)")
	formatFlag(c, &out, formatTable, formatWide, formatJSON, formatYAML)
	return c
}

func completeKind(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return kindNames(), cobra.ShellCompDirectiveNoFileComp
}

func (v view) print(w io.Writer, out format, single bool) error {
	switch out {
	case formatJSON, formatYAML:
		if single {
			return printData(w, out, v.rows[0].data)
		}
		all := make([]any, len(v.rows))
		for i, r := range v.rows {
			all[i] = r.data
		}
		return printData(w, out, all)
	}
	header := v.header
	if out == formatWide {
		header = slices.Concat(header, v.wide)
	}
	table := make([][]string, len(v.rows))
	for i, r := range v.rows {
		table[i] = r.cells
		if out == formatWide {
			table[i] = slices.Concat(r.cells, r.wide)
		}
	}
	return printTable(w, header, table)
}

// fetchView reads all things of a kind from the cluster.
func fetchView(ctx context.Context, conn *bus.Conn, kind string, now time.Time) (view, error) {
	state, err := conn.State(ctx)
	if err != nil {
		return view{}, err
	}
	report := api.Report{}
	if state.Report != nil {
		report = *state.Report
	}
	switch kind {
	case "Pod":
		return podView(state.Statuses, report, now), nil
	case "Node":
		return nodeView(state.Nodes, report, now), nil
	}
	objects, err := objectsInForce(ctx, conn, report)
	if err != nil {
		return view{}, err
	}
	objects = slices.DeleteFunc(objects, func(o api.Object) bool { return o.Ref.Kind != kind })
	switch kind {
	case "Deployment":
		return deploymentView(objects, report), nil
	case "HorizontalPodAutoscaler":
		return autoscalerView(objects, report), nil
	case "Service":
		return serviceView(objects, state.Routes), nil
	case "NetworkPolicy":
		return networkPolicyView(objects, state.Statuses), nil
	case "Ingress":
		return ingressView(objects), nil
	}
	v := view{header: []string{"NAMESPACE", "NAME", "SOURCE"}}
	for _, o := range objects {
		v.rows = append(v.rows, row{ref: o.Ref, cells: []string{o.Ref.Namespace, o.Ref.Name, o.Source.String()}, data: o.Value})
	}
	return v, nil
}

func podView(statuses []api.NodeStatus, report api.Report, now time.Time) view {
	v := view{
		header: []string{"NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"},
		wide:   []string{"IP", "NODE", "COMMIT", "OWNER"},
	}
	for _, s := range statuses {
		for _, p := range s.Pods {
			ready, restarts := 0, 0
			for _, c := range p.Containers {
				restarts += c.Restarts
				if c.Ready {
					ready++
				}
			}
			id := p.Placement.PodIdentity
			status := cmp.Or(p.Reason, string(p.Phase))
			if slices.ContainsFunc(report.Nodes, func(n api.NodeCondition) bool { return n.Name == s.Node && n.State == "Lost" }) {
				status = "NodeLost" // what the node said last is old
			}
			v.rows = append(v.rows, row{
				ref: id.Pod, data: p,
				cells: []string{
					id.Pod.Namespace, id.Pod.Name, fmt.Sprintf("%d/%d", ready, len(p.Containers)),
					status, strconv.Itoa(restarts), age(now, p.Started),
				},
				wide: []string{p.IP, s.Node, api.ShortCommit(id.Commit), id.Owner.String()},
			})
		}
	}
	slices.SortFunc(v.rows, func(a, b row) int { return a.ref.Compare(b.ref) })
	return v
}

func nodeView(nodes []api.NodeInfo, report api.Report, now time.Time) view {
	v := view{
		header: []string{"NAME", "STATE", "PODS", "SEEN"},
		wide:   []string{"ADDRESS", "POD-CIDR", "CPU", "MEMORY", "RESOURCES", "RUNTIME", "VERSION"},
	}
	for _, n := range nodes {
		condition := api.NodeCondition{State: "Unknown"}
		if i := slices.IndexFunc(report.Nodes, func(c api.NodeCondition) bool { return c.Name == n.Name }); i >= 0 {
			condition = report.Nodes[i]
		}
		seen := ""
		if condition.State == "Lost" {
			seen = age(now, condition.LastSeen) + " ago"
		}
		v.rows = append(v.rows, row{
			ref: api.Ref{Kind: "Node", Name: n.Name}, data: n,
			cells: []string{n.Name, condition.State, strconv.Itoa(condition.Pods), seen},
			wide: []string{
				strings.Join(n.Addresses, ","), n.PodCIDR, fmt.Sprintf("%dm", n.Allocatable.MilliCPU),
				fmt.Sprintf("%dMi", n.Allocatable.Memory>>20), orNothing(resourcesText(n.Extended)), n.Runtime, n.Version,
			},
		})
	}
	return v
}

// resourcesText lists amounts of extended resources, ordered by name.
func resourcesText(amounts map[string]int64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(amounts)) {
		list = append(list, fmt.Sprintf("%s=%d", name, amounts[name]))
	}
	return strings.Join(list, ",")
}

func deploymentView(objects []api.Object, report api.Report) view {
	v := view{
		header: []string{"NAMESPACE", "NAME", "READY", "UPDATED", "AVAILABLE", "STATE"},
		wide:   []string{"COMMIT", "SOURCE", "REASON"},
	}
	for _, o := range objects {
		i := slices.IndexFunc(report.Workloads, func(w api.WorkloadStatus) bool { return w.Ref == o.Ref })
		if i < 0 {
			continue
		}
		w := report.Workloads[i]
		v.rows = append(v.rows, row{
			ref: o.Ref, data: o.Value,
			cells: []string{
				o.Ref.Namespace, o.Ref.Name, fmt.Sprintf("%d/%d", w.Ready, w.Desired),
				strconv.Itoa(w.Updated), strconv.Itoa(w.Available), string(w.State),
			},
			wide: []string{api.ShortCommit(w.Commit), o.Source.String(), w.Reason},
		})
	}
	return v
}

func serviceView(objects []api.Object, routes []api.Route) view {
	v := view{
		header: []string{"NAMESPACE", "NAME", "CLUSTER-IP", "PORTS", "ENDPOINTS"},
		wide:   []string{"ADDRESSES", "SOURCE"},
	}
	for _, o := range objects {
		var route api.Route
		if i := slices.IndexFunc(routes, func(r api.Route) bool { return r.Service == o.Ref }); i >= 0 {
			route = routes[i]
		}
		var ports, addresses []string
		for _, p := range route.Ports {
			ports = append(ports, fmt.Sprintf("%d/%s", p.Port, p.Protocol))
		}
		for _, e := range route.Endpoints {
			addresses = append(addresses, e.IP)
		}
		v.rows = append(v.rows, row{
			ref: o.Ref, data: o.Value,
			cells: []string{
				o.Ref.Namespace, o.Ref.Name, cmp.Or(route.ClusterIP, "None"),
				strings.Join(ports, ","), strconv.Itoa(len(route.Endpoints)),
			},
			wide: []string{strings.Join(addresses, ","), o.Source.String()},
		})
	}
	return v
}
