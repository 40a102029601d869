package isolation

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/api"
)

// TestScenarios plays the recipes in testdata. Their commands are:
//
//	world     namespaces and pods, one a line: namespace NAME [label=value ...]; pod NAMESPACE/NAME node=N [ip=IP]
//	          [port=NAME:PORT[/PROTOCOL] ...] [label=value ...]
//	policies  NetworkPolicies in YAML, in place of those before; prints what isolates the pods of each node
//
// Run with -rewrite to write the results down.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var in Input
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "world":
				in = Input{Namespaces: map[string]map[string]string{}}
				for line := range strings.Lines(d.Input) {
					if err := in.add(strings.Fields(line)); err != nil {
						d.Fatalf(t, "%s: %v", line, err)
					}
				}
				return ""
			case "policies":
				in.Policies = nil
				for doc := range strings.SplitSeq(d.Input, "\n---\n") {
					p := &networkingv1.NetworkPolicy{}
					if err := yaml.UnmarshalStrict([]byte(doc), p); err != nil {
						d.Fatalf(t, "%v", err)
					}
					if p.Namespace == "" {
						p.Namespace = "default"
					}
					in.Policies = append(in.Policies, p)
				}
				return printTables(Compute(in))
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// add takes in one line of a world.
func (in *Input) add(words []string) error {
	labels := map[string]string{}
	if words[0] == "namespace" {
		for _, w := range words[2:] {
			k, v, _ := strings.Cut(w, "=")
			labels[k] = v
		}
		in.Namespaces[words[1]] = labels
		return nil
	}
	namespace, name, _ := strings.Cut(words[1], "/")
	p := Pod{UID: name, Namespace: namespace, Labels: labels}
	for _, w := range words[2:] {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "node":
			p.Node = v
		case "ip":
			ip, err := netip.ParseAddr(v)
			if err != nil {
				return err
			}
			p.IP = ip
		case "port":
			named, protocol, _ := strings.Cut(v, "/")
			name, text, _ := strings.Cut(named, ":")
			port, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			p.Ports = append(p.Ports, api.ContainerPort{Name: name, Port: int32(port), Protocol: corev1.Protocol(protocol)})
		default:
			labels[k] = v
		}
	}
	in.Pods = append(in.Pods, p)
	return nil
}

func printTables(tables map[string]*api.Isolation) string {
	if len(tables) == 0 {
		return "nothing is isolated\n"
	}
	var b strings.Builder
	for _, node := range slices.Sorted(maps.Keys(tables)) {
		for _, g := range tables[node].Pods {
			fmt.Fprintf(&b, "%s: %s\n", node, strings.Join(g.UIDs, " "))
			printAllowed(&b, "in", g.Ingress)
			printAllowed(&b, "out", g.Egress)
		}
	}
	return b.String()
}

func printAllowed(b *strings.Builder, way string, a *api.Allowed) {
	switch {
	case a == nil:
		fmt.Fprintf(b, "  %s: everything\n", way)
	case len(a.Flows) == 0:
		fmt.Fprintf(b, "  %s: nothing\n", way)
	default:
		for _, f := range a.Flows {
			fmt.Fprintf(b, "  %s: %s at %s\n", way, strings.Join(f.Networks, " "), printPorts(f.Ports))
		}
	}
}

func printPorts(ranges []api.PortRange) string {
	if len(ranges) == 0 {
		return "every port"
	}
	var words []string
	for _, r := range ranges {
		switch {
		case r.First == r.Last:
			words = append(words, fmt.Sprintf("%d/%s", r.First, r.Protocol))
		case r.First == 0 && r.Last == 65535:
			words = append(words, fmt.Sprintf("*/%s", r.Protocol))
		default:
			words = append(words, fmt.Sprintf("%d-%d/%s", r.First, r.Last, r.Protocol))
		}
	}
	return strings.Join(words, " ")
}
