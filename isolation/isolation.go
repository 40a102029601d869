package isolation

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"headway.dev/headway/api"
)

// Input is what isolation depends on. Its order is of no account.
type Input struct {
	Policies []*networkingv1.NetworkPolicy
	// Namespaces are the labels of those that are declared, by name.
	Namespaces map[string]map[string]string
	Pods       []Pod
}

// A Pod is one that policies may select, as it is or as a peer.
type Pod struct {
	UID       string
	Namespace string
	Node      string
	Labels    map[string]string
	// IP is its own address; zero as long as it has none, and where it has its node's.
	IP netip.Addr
	// Ports are those with names.
	Ports []api.ContainerPort
}

// Compute gives, by node, what isolates its pods. Nodes without an isolated pod are left out. A policy whose
// selector cannot be read, which validation refuses, selects nothing.
func Compute(in Input) map[string]*api.Isolation {
	if len(in.Policies) == 0 {
		return nil
	}
	c := newComputation(in)
	groups := map[string]map[string]*api.IsolatedPods{} // by node and rules
	for _, p := range c.pods {
		ingress, egress := c.rules(p)
		if ingress == nil && egress == nil {
			continue
		}
		if groups[p.Node] == nil {
			groups[p.Node] = map[string]*api.IsolatedPods{}
		}
		key := keyOf(ingress) + " " + keyOf(egress)
		if groups[p.Node][key] == nil {
			groups[p.Node][key] = &api.IsolatedPods{Ingress: ingress, Egress: egress}
		}
		groups[p.Node][key].UIDs = append(groups[p.Node][key].UIDs, p.UID)
	}
	tables := make(map[string]*api.Isolation, len(groups))
	for node, byRules := range groups {
		table := &api.Isolation{}
		for _, g := range byRules {
			table.Pods = append(table.Pods, *g)
		}
		slices.SortFunc(table.Pods, func(a, b api.IsolatedPods) int { return strings.Compare(a.UIDs[0], b.UIDs[0]) })
		tables[node] = table
	}
	return tables
}

// A computation keeps what several pods have in common.
type computation struct {
	policies   map[string][]*policy // by namespace
	namespaces map[string]map[string]string
	pods       []*Pod            // ordered by UID
	members    map[string][]*Pod // by namespace
	done       map[string]bothWays
}

// bothWays is what passes to and from a pod; nil is everything.
type bothWays struct{ ingress, egress *api.Allowed }

func newComputation(in Input) *computation {
	c := &computation{
		policies: map[string][]*policy{}, namespaces: map[string]map[string]string{},
		members: map[string][]*Pod{}, done: map[string]bothWays{},
	}
	for i := range in.Pods {
		c.pods = append(c.pods, &in.Pods[i])
	}
	slices.SortFunc(c.pods, func(a, b *Pod) int { return strings.Compare(a.UID, b.UID) })
	for _, p := range c.pods {
		c.members[p.Namespace] = append(c.members[p.Namespace], p)
		c.namespaces[p.Namespace] = nil
	}
	for name := range in.Namespaces {
		c.namespaces[name] = nil
	}
	for name := range c.namespaces {
		// Every namespace has its name as a label, even one that Git does not speak of.
		labels := map[string]string{}
		maps.Copy(labels, in.Namespaces[name])
		labels[corev1.LabelMetadataName] = name
		c.namespaces[name] = labels
	}
	for _, p := range in.Policies {
		if read, ok := readPolicy(p); ok {
			c.policies[p.Namespace] = append(c.policies[p.Namespace], read)
		}
	}
	return c
}

// rules gives what passes to and from a pod. Pods that the same policies select differ only by what the names of ports
// stand for.
func (c *computation) rules(pod *Pod) (ingress, egress *api.Allowed) {
	var selecting []*policy
	key := pod.Namespace
	for i, p := range c.policies[pod.Namespace] {
		if p.selects(pod) {
			selecting = append(selecting, p)
			key += fmt.Sprintf(" %d", i)
		}
	}
	if len(selecting) == 0 {
		return nil, nil
	}
	key += fmt.Sprint(pod.Ports)
	if both, ok := c.done[key]; ok {
		return both.ingress, both.egress
	}
	var in, out side
	for _, p := range selecting {
		if p.isolatesIngress {
			if in == nil {
				in = side{}
			}
			for _, r := range p.ingress {
				in.open(r.portsAt(pod), c.spansOf(r, p.namespace))
			}
		}
		if p.isolatesEgress {
			if out == nil {
				out = side{}
			}
			for _, r := range p.egress {
				c.openEgress(out, r, p.namespace)
			}
		}
	}
	if in != nil {
		ingress = in.allowed()
	}
	if out != nil {
		egress = out.allowed()
	}
	c.done[key] = bothWays{ingress, egress}
	return ingress, egress
}

// openEgress lets a rule's connections out. A port by its name is another one at each pod, and none at other addresses.
func (c *computation) openEgress(out side, r *rule, namespace string) {
	out.open(r.numbers(), c.spansOf(r, namespace))
	if !r.named() {
		return
	}
	for _, pod := range c.peersOf(r, namespace) {
		out.open(r.portsAt(pod), []span{spanOf(netip.PrefixFrom(pod.IP, 32))})
	}
}

// spansOf are the addresses of a rule's peers.
func (c *computation) spansOf(r *rule, namespace string) []span {
	if len(r.peers) == 0 {
		return everywhere()
	}
	if r.known {
		return r.spans
	}
	for _, p := range r.peers {
		r.spans = append(r.spans, p.block...)
	}
	for _, pod := range c.peersOf(r, namespace) {
		r.spans = append(r.spans, spanOf(netip.PrefixFrom(pod.IP, 32)))
	}
	r.spans, r.known = union(r.spans), true
	return r.spans
}

// peersOf are the pods with addresses that are a rule's peers: all of them, where it names none.
func (c *computation) peersOf(r *rule, namespace string) []*Pod {
	var found []*Pod
	for name, labels := range c.namespaces {
		for _, pod := range c.members[name] {
			if pod.IP.Is4() && r.admits(pod, namespace, labels) {
				found = append(found, pod)
			}
		}
	}
	return found
}
