package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/api"
)

// TestScenarios plays the stories in testdata. Their commands are:
//
//	nodes                        begins anew with nodes, one a line: NAME [LABEL=VALUE | cpu:2 | memory:1Gi | RESOURCE:AMOUNT |
//	                             claim:NS/NAME | taint:KEY=VALUE:EFFECT | cordoned | lost]...
//	namespaces                   labels of namespaces, one a line: NAME [LABEL=VALUE]...
//	budget name=B selects=L=V left=N   bounds what may be ended of the pods with a label
//	template NAME [ns=NS] [LABEL=VALUE]...   is what pods of a workload run; its spec in YAML follows
//	run NAME on=(NODE,...) [stopping] [unready] [age=SECONDS] [claim=NAME]   has pods of it run already
//	place NAME[=REPLICAS]... [claim=NAME] [volumes=(CLAIM:VOLUME@NODE:...,...)]   decides on pods, and has those run that
//	                             are placed. A claim's volumes are in order; $ in its name is the pod's slot, and a volume
//	                             without a node is on all
//	end NODE                     ends all that is ending on a node
//
// Run with -rewrite to write the results down.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s *stage
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "nodes" {
				s = &stage{templates: map[string]*template{}, made: map[string]int{}}
			}
			out, err := s.play(d)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			return out
		})
	})
}

// A stage is where a scenario plays.
type stage struct {
	Input
	templates map[string]*template
	made      map[string]int // pods by template
}

type template struct {
	name, namespace string
	labels          map[string]string
	spec            *corev1.PodSpec
}

func (s *stage) play(d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "nodes":
		for line := range strings.Lines(d.Input) {
			n, err := parseNode(strings.Fields(line))
			if err != nil {
				return "", err
			}
			s.Nodes = append(s.Nodes, n)
		}
	case "namespaces":
		s.Namespaces = map[string]map[string]string{}
		for line := range strings.Lines(d.Input) {
			fields := strings.Fields(line)
			s.Namespaces[fields[0]] = map[string]string{}
			for _, f := range fields[1:] {
				key, value, _ := strings.Cut(f, "=")
				s.Namespaces[fields[0]][key] = value
			}
		}
	case "template":
		t := &template{name: d.CmdArgs[0].Key, namespace: "shop", labels: map[string]string{}, spec: &corev1.PodSpec{}}
		for _, arg := range d.CmdArgs[1:] {
			if t.labels[arg.Key] = arg.Vals[0]; arg.Key == "ns" {
				t.namespace = arg.Vals[0]
				delete(t.labels, "ns")
			}
		}
		s.templates[t.name] = t
		return "", yaml.UnmarshalStrict([]byte(d.Input), t.spec)
	case "budget":
		var name, label string
		var left int
		for _, arg := range d.CmdArgs {
			switch arg.Key {
			case "name":
				name = arg.Vals[0]
			case "selects":
				label = arg.Vals[0]
			case "left":
				left, _ = strconv.Atoi(arg.Vals[0])
			}
		}
		key, value, _ := strings.Cut(label, "=")
		s.Budgets = append(s.Budgets, Budget{
			Ref: api.Ref{Kind: "PodDisruptionBudget", Namespace: "shop", Name: name}, Left: left,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{key: value}},
		})
	case "run":
		return "", s.run(d.CmdArgs)
	case "place":
		return s.place(d.CmdArgs), nil
	case "end":
		s.Running = slices.DeleteFunc(s.Running, func(r Running) bool { return r.Stopping && r.Node == d.CmdArgs[0].Key })
	default:
		return "", fmt.Errorf("unknown command %s", d.Cmd)
	}
	return "", nil
}

func parseVolumes(words []string, pod *Pod) []VolumeClaim {
	var claims []VolumeClaim
	for _, word := range words {
		names := strings.Split(word, ":")
		c := VolumeClaim{Claim: api.Ref{
			Kind: "PersistentVolumeClaim", Namespace: pod.Identity.Pod.Namespace, Name: strings.ReplaceAll(names[0], "$", strconv.Itoa(pod.Identity.Slot)),
		}}
		for _, name := range names[1:] {
			name, node, bound := strings.Cut(name, "@")
			v := Volume{Name: name}
			if bound {
				v.Affinity = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
					{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}},
				}}}}
			}
			c.Choices = append(c.Choices, v)
		}
		claims = append(claims, c)
	}
	return claims
}

func parseNode(fields []string) (Node, error) {
	n := newNode(fields[0])
	n.Labels, n.Extended = map[string]string{corev1.LabelHostname: n.Name}, map[string]int64{}
	for _, f := range fields[1:] {
		key, value, isAmount := strings.Cut(f, ":")
		label, is, isLabel := strings.Cut(f, "=")
		switch {
		case f == "cordoned":
			n.Cordoned = true
		case f == "lost":
			n.Lost = true
		case key == "taint":
			text, effect, _ := strings.Cut(value, ":")
			name, value, _ := strings.Cut(text, "=")
			n.Taints = append(n.Taints, corev1.Taint{Key: name, Value: value, Effect: corev1.TaintEffect(effect)})
		case key == "claim":
			namespace, name, _ := strings.Cut(value, "/")
			n.Claims = append(n.Claims, api.Ref{Kind: "PersistentVolumeClaim", Namespace: namespace, Name: name})
		case isLabel:
			if n.Labels[label] = is; is == "" {
				delete(n.Labels, label)
			}
		case isAmount:
			q, err := resource.ParseQuantity(value)
			if err != nil {
				return n, fmt.Errorf("%s: %w", f, err)
			}
			switch key {
			case "cpu":
				n.Allocatable.MilliCPU = q.MilliValue()
			case "memory":
				n.Allocatable.Memory = q.Value()
			case "pods":
				n.MaxPods = int(q.Value())
			default:
				n.Extended[key] = q.Value()
			}
		default:
			return n, fmt.Errorf("what is %s?", f)
		}
	}
	return n, nil
}

// next makes one more pod of a template.
func (s *stage) next(t *template) Pod {
	slot := s.made[t.name]
	s.made[t.name]++
	name := fmt.Sprintf("%s-%d", t.name, slot)
	return Pod{
		Identity: api.PodIdentity{
			Pod: api.PodRef(t.namespace, name), UID: "uid-" + name, Slot: slot, Template: api.Digest("template-" + t.name),
			Owner: api.Ref{Kind: "Deployment", Namespace: t.namespace, Name: t.name},
		},
		Spec: t.spec, Labels: t.labels, Requests: api.PodRequests(t.spec),
	}
}

// on has the pod run.
func (p Pod) on(node string) Running {
	return Running{
		Node: node, Pod: p.Identity.Pod, Owner: p.Identity.Owner, Template: p.Identity.Template, UID: p.Identity.UID, Requests: p.Requests,
		Extended: api.PodExtended(p.Spec), HostPorts: api.HostPorts(p.Spec), Labels: p.Labels, Spec: p.Spec, Claims: p.Claims,
	}
}

func (s *stage) run(args []datadriven.CmdArg) error {
	t := s.templates[args[0].Key]
	if t == nil {
		return fmt.Errorf("no template %s", args[0].Key)
	}
	var nodes []string
	var with Running
	for _, arg := range args[1:] {
		switch arg.Key {
		case "on":
			nodes = arg.Vals
		case "stopping":
			with.Stopping = true
		case "unready":
			with.Unready = true
		case "claim":
			with.Claims = arg.Vals
		case "age":
			age, err := time.ParseDuration(arg.Vals[0])
			if err != nil {
				return err
			}
			with.Started = time.Unix(1_000_000, 0).Add(-age)
		}
	}
	for _, node := range nodes {
		r := s.next(t).on(node)
		r.Stopping, r.Unready, r.Claims, r.Started = with.Stopping, with.Unready, with.Claims, with.Started
		s.Running = append(s.Running, r)
	}
	return nil
}

func (s *stage) place(args []datadriven.CmdArg) string {
	s.Pods = nil
	for _, arg := range args {
		if arg.Key == "claim" {
			for i := range s.Pods {
				s.Pods[i].Claims = arg.Vals
			}
			continue
		}
		if arg.Key == "volumes" {
			for i := range s.Pods {
				s.Pods[i].Volumes = parseVolumes(arg.Vals, &s.Pods[i])
			}
			continue
		}
		replicas := 1
		if len(arg.Vals) > 0 {
			replicas, _ = strconv.Atoi(arg.Vals[0])
		}
		for range replicas {
			s.Pods = append(s.Pods, s.next(s.templates[arg.Key]))
		}
	}
	var out strings.Builder
	for _, d := range Compute(s.Input) {
		i := slices.IndexFunc(s.Pods, func(p Pod) bool { return p.Identity.UID == d.Pod.UID })
		if d.Node != "" {
			s.Running = append(s.Running, s.Pods[i].on(d.Node))
			fmt.Fprintf(&out, "%s on %s: %s\n", d.Pod.Pod.Name, d.Node, d.Reason)
			for _, claim := range slices.Sorted(maps.Keys(d.Volumes)) {
				fmt.Fprintf(&out, "  %s has %s\n", claim, d.Volumes[claim])
			}
			continue
		}
		fmt.Fprintf(&out, "%s: %s\n", d.Pod.Pod.Name, d.Reason)
		for _, v := range d.Victims {
			fmt.Fprintf(&out, "  ends %s\n", v.Pod.Name)
			i := slices.IndexFunc(s.Running, func(r Running) bool { return r.UID == v.UID })
			s.Running[i].Stopping = true
		}
	}
	return out.String()
}
