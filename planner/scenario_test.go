package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// TestScenarios plays the stories in testdata. Their commands are:
//
//	git commit=C [prune=false] [approve=REF+REF]   objects in force, one a line (see parseObject)
//	observe                      what happens to pods and nodes, one a line (see observe)
//	plan                         prints the next plan
//	apply                        carries it out, and prints the pods
//	settle                       plans and carries out until nothing is left to do at this time, all pods getting ready
//	advance D                    lets time pass
//	pods, routes, records, claims   print what there is
//	forget                       the control plane loses all that Git and the nodes do not know
//	unseen, untold               why pods may run, and data may be, that nobody has told of
//	rehearse                     prints all that would be done, on an ideal fleet
//
// Run with -rewrite to write the results down.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.Contains(path, "/rapid/") {
			return // how random histories failed here
		}
		w := newWorld()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := w.run(t, d)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			return out
		})
	})
}

func (w *world) run(t *testing.T, d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "git":
		return w.git(t, d)
	case "observe":
		for line := range strings.Lines(d.Input) {
			if err := w.observe(strings.Fields(line)); err != nil {
				return "", err
			}
		}
		return w.printPods(), nil
	case "plan":
		return w.printPlan(w.compute()), nil
	case "apply":
		w.carryOut(w.compute())
		return w.printPods(), nil
	case "settle":
		return w.settle()
	case "advance":
		by, err := time.ParseDuration(d.CmdArgs[0].Key)
		w.Now = w.Now.Add(by)
		return w.Now.Sub(epoch).String() + "\n", err
	case "records":
		return w.printRecords(), nil
	case "pods":
		return w.printPods(), nil
	case "routes":
		return printRoutes(w.compute()), nil
	case "claims":
		return w.printClaims(), nil
	case "scales":
		return w.printScales(), nil
	case "rounds":
		return w.rounds(d.CmdArgs[0].Key)
	case "forget":
		w.Routes, w.Rollouts, w.Templates, w.Jobs, w.Deployed, w.Scales = nil, nil, nil, nil, nil, nil
		return "", nil
	case "unseen":
		w.Unseen = strings.TrimSpace(d.Input)
		return "", nil
	case "untold":
		w.Untold = strings.TrimSpace(d.Input)
		return "", nil
	case "rehearse":
		return w.rehearse()
	}
	return "", fmt.Errorf("unknown command %s", d.Cmd)
}

func (w *world) git(t *testing.T, d *datadriven.TestData) (string, error) {
	var commit string
	d.ScanArgs(t, "commit", &commit)
	w.Prune = true
	d.MaybeScanArgs(t, "prune", &w.Prune)
	var objects []api.Object
	for line := range strings.Lines(d.Input) {
		o, err := parseObject(line)
		if err != nil {
			return "", err
		}
		objects = append(objects, o)
	}
	before := w.Desired
	w.commit(commit, objects)
	var approve string
	if d.MaybeScanArgs(t, "approve", &approve); approve != "" {
		w.Revision.Message = "Clear away\n\n" + ApproveTrailer + ": " + strings.ReplaceAll(approve, "+", ", ") + "\n"
	}
	changes, err := Diff(before, w.Desired)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s %s\n", c.Kind, c.Ref)
		for _, f := range c.Fields {
			fmt.Fprintf(&b, "  %s\n", f)
		}
	}
	return b.String(), nil
}

// observe changes what is observed: ready|unready|evicted|succeeded|gone POD..., crash POD..., lost|fenced|back|drained|
// taken|removed NODE, joined NODE key=value..., tainted NODE EFFECT, or "stopped" for everything that was told to stop.
func (w *world) observe(words []string) error {
	if words[0] == "stopped" {
		w.Pods = slices.DeleteFunc(w.Pods, func(pod Pod) bool { return isStopping(&pod) && !pod.Lost })
		return nil
	}
	if words[0] == "claims" { // nodes have what their pods claim, and no longer what was released
		w.holdClaims()
		return nil
	}
	if words[0] == "joined" {
		w.Nodes = append(w.Nodes, Node{Name: words[1], Labels: parseFields(words[2:])})
		return nil
	}
	if words[0] == "used" { // POD SHARE: so much of what it asked for; "all" are those that there are
		for i := range w.Pods {
			if w.Pods[i].UID == w.byAlias[words[1]] || words[1] == "all" {
				if err := w.use(&w.Pods[i], words[2]); err != nil {
					return err
				}
			}
		}
		w.measure()
		return nil
	}
	for _, name := range words[1:] {
		if n := w.node(name); n != nil {
			if err := w.observeNode(n, words); err != nil {
				return err
			}
			if words[0] == "tainted" {
				return nil
			}
			continue
		}
		pod, err := w.pod(name)
		if err != nil {
			return err
		}
		switch words[0] {
		case "ready":
			w.ready(pod)
		case "unready":
			w.unready(pod, "")
		case "crash":
			w.unready(pod, "CrashLoopBackOff")
		case "loops":
			w.unready(pod, "CrashLoopBackOff")
			pod.Containers = []api.ContainerStatus{{Name: "web", State: "waiting", Reason: "CrashLoopBackOff", ExitCode: 2, Restarts: 3}}
		case "init-loops":
			w.unready(pod, "CrashLoopBackOff")
			pod.InitContainers = []api.ContainerStatus{
				{Name: "once", State: "terminated", Ready: true, Restarts: 4},
				{Name: "migrate", State: "waiting", Reason: "CrashLoopBackOff", ExitCode: 2, Restarts: 3, Message: "no such table"},
			}
			pod.Containers = []api.ContainerStatus{{Name: "web", State: "waiting", Reason: "PodInitializing"}}
		case "init-exit3":
			w.unready(pod, "Error")
			pod.Phase, pod.Finished = api.PodFailed, w.Now
			pod.InitContainers = []api.ContainerStatus{{Name: "migrate", State: "terminated", ExitCode: 3}}
			pod.Containers = []api.ContainerStatus{{Name: "main", State: "waiting", Reason: "PodInitializing"}}
		case "evicted":
			w.unready(pod, "Evicted")
			pod.Phase, pod.Finished = api.PodFailed, w.Now
		case "succeeded":
			w.unready(pod, "")
			pod.Phase, pod.Finished = api.PodSucceeded, w.Now
		case "failed", "exit3":
			w.unready(pod, "Error")
			pod.Phase, pod.Finished = api.PodFailed, w.Now
			pod.Containers = []api.ContainerStatus{{Name: "main", State: "terminated", ExitCode: 1}}
			if words[0] == "exit3" {
				pod.Containers[0].ExitCode = 3
			}
		case "gone":
			uid := pod.UID
			w.Pods = slices.DeleteFunc(w.Pods, func(p Pod) bool { return p.UID == uid })
		default:
			return fmt.Errorf("unknown observation %s", words[0])
		}
	}
	return nil
}

// observeNode changes a node, and what is seen of its pods.
func (w *world) observeNode(n *Node, words []string) error {
	switch words[0] {
	case "lost", "fenced", "back":
		n.Lost = words[0] != "back"
		for i := range w.Pods {
			if w.Pods[i].Node == n.Name {
				w.Pods[i].Lost, w.Pods[i].Fenced = n.Lost, words[0] == "fenced"
			}
		}
	case "drained", "taken":
		n.Draining = words[0] == "drained"
	case "tainted":
		n.Taints = append(n.Taints, corev1.Taint{Key: "test", Effect: corev1.TaintEffect(words[2])})
	default:
		return fmt.Errorf("unknown observation %s of a node", words[0])
	}
	return nil
}

// settle brings the fleet to rest at the present time.
func (w *world) settle() (string, error) {
	for range 100 {
		plan := w.compute()
		w.carryOut(plan)
		if !settle(w.Input) && len(plan.Actions) == 0 && len(plan.Updates) == 0 {
			return w.printPods() + w.printStatus(plan), nil
		}
		w.Pods = slices.DeleteFunc(w.Pods, func(pod Pod) bool { return isStopping(&pod) })
	}
	return "", fmt.Errorf("it does not come to rest: %s", w.printPlan(w.compute()))
}

func (w *world) rehearse() (string, error) {
	r, err := Rehearse(w.Input)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i, s := range r.Steps {
		fmt.Fprintf(&b, "step %d after %s\n", i+1, s.After)
		for _, a := range s.Actions {
			b.WriteString(w.printAction(a))
		}
		for _, u := range s.Updates {
			fmt.Fprintf(&b, "  update %s in place: %s\n", w.alias(u.Pod), u.Reason)
		}
	}
	return w.readable(b.String() + w.printStatus(r.Last)), nil
}

func (w *world) printAction(a Action) string {
	return fmt.Sprintf("  %-6s %s: %s\n", a.Kind, w.alias(a.Pod), a.Reason)
}

func (w *world) printPlan(plan Plan) string {
	var b strings.Builder
	for _, d := range plan.Deletions {
		fmt.Fprintf(&b, "  delete %s with %d pods\n", d.Ref, d.Pods)
		if d.Held != "" {
			fmt.Fprintf(&b, "    not: %s\n", d.Held)
		}
		if len(d.After) > 0 {
			fmt.Fprintf(&b, "    after %v\n", d.After)
		}
	}
	for _, a := range plan.Actions {
		b.WriteString(w.printAction(a))
	}
	for _, u := range plan.Updates {
		fmt.Fprintf(&b, "  update %s in place: %s\n", w.alias(u.Pod), u.Reason)
	}
	if len(plan.Actions) == 0 && len(plan.Updates) == 0 {
		b.WriteString("  nothing to do\n")
	}
	b.WriteString(w.printStatus(plan))
	if !plan.Wake.IsZero() {
		fmt.Fprintf(&b, "wake in %s\n", plan.Wake.Sub(w.Now))
	}
	return w.readable(b.String())
}

func (w *world) printStatus(plan Plan) string {
	var b strings.Builder
	for _, s := range plan.Workloads {
		fmt.Fprintf(&b, "%s at %s: %s: %s\n", s.Ref, s.Commit, s.State, s.Reason)
		if s.Failure == nil {
			continue
		}
		for _, e := range s.Failure.Evidence {
			fmt.Fprintf(&b, "  %s on %s: %s %s exit code %d, %d restarts\n", e.Pod.Name, e.Node, e.Container, e.Reason, e.ExitCode, e.Restarts)
		}
	}
	for _, problem := range plan.Problems {
		fmt.Fprintf(&b, "%s\n", problem)
	}
	return b.String()
}

func (w *world) printPods() string {
	var lines []string
	for i := range w.Pods {
		pod := &w.Pods[i]
		line := fmt.Sprintf("%s on %s %s", w.alias(pod.PodIdentity), pod.Node, pod.Phase)
		for _, mark := range []struct {
			set  bool
			name string
		}{{pod.Ready, "ready"}, {pod.Lost, "lost"}, {pod.Fenced, "fenced"}, {pod.Stopping, "stopping"}, {pod.Reason != "", pod.Reason}} {
			if mark.set {
				line += " " + mark.name
			}
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	if lines == nil {
		return "no pods\n"
	}
	return strings.Join(lines, "")
}

func (w *world) printRecords() string {
	var b strings.Builder
	for _, r := range w.Jobs {
		fmt.Fprintf(&b, "%s %s: succeeded %v, failed %v, ignored %v %s\n", r.Job, r.Template.Short(), r.Succeeded, r.Failed, r.Ignored, r.Outcome)
	}
	return w.readable(b.String())
}

func printRoutes(plan Plan) string {
	var b strings.Builder
	for _, r := range plan.Routes {
		fmt.Fprintf(&b, "%s %s", r.Service, r.ClusterIP)
		if r.AffinitySeconds > 0 {
			fmt.Fprintf(&b, " sticky %ds", r.AffinitySeconds)
		}
		for _, p := range r.Ports {
			fmt.Fprintf(&b, " %d/%s", p.Port, p.Protocol)
			if p.NodePort != 0 {
				fmt.Fprintf(&b, " by %d", p.NodePort)
			}
		}
		b.WriteString(printOutside(r) + "\n")
		for _, e := range r.Endpoints {
			fmt.Fprintf(&b, "  %s %v on %s", e.IP, e.TargetPorts, cmp.Or(e.Node, "no node"))
			if e.Weight != 0 {
				fmt.Fprintf(&b, " weighs %d", e.Weight)
			}
			if e.Hostname != "" {
				fmt.Fprintf(&b, " called %s", e.Hostname)
			}
			b.WriteString("\n")
		}
	}
	for _, problem := range plan.Problems {
		fmt.Fprintf(&b, "%s\n", problem)
	}
	return b.String()
}

func printOutside(r api.Route) string {
	var b strings.Builder
	for _, mark := range []struct {
		set  bool
		name string
	}{
		{r.ExternalName != "", "alias of " + r.ExternalName},
		{r.OnNodes, "on nodes"},
		{len(r.ExternalIPs) > 0, "at " + strings.Join(r.ExternalIPs, ",")},
		{len(r.SourceRanges) > 0, "from " + strings.Join(r.SourceRanges, ",")},
		{r.InternalLocal, "local inside"},
		{r.ExternalLocal, "local from outside"},
		{r.HealthCheckPort != 0, fmt.Sprintf("health at %d", r.HealthCheckPort)},
	} {
		if mark.set {
			b.WriteString(" " + mark.name)
		}
	}
	return b.String()
}
