package scheduler

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A fleet is the nodes with what is taken of them.
type fleet struct {
	in    *Input
	nodes []*node // ordered by name
	named map[string]*node
	// peers are where pods of an owner run that are to stay; counted are the nodes that countPeers has counted.
	peers   map[api.Ref][]peer
	counted []peer
	claims  map[string]*node // where each lies, by namespace/name
	volumes volumes
	classes map[string]*class
	scratch []candidate
	// squeezed is set when memory is short on a node.
	squeezed bool
	// pods are all pods by what they are to the rules of others; nil where nobody has rules.
	pods *census
	// tenants are the running pods of each node, once they are asked for.
	tenants [][]*tenant
	lowest  int32 // priority of a tenant
	budgets []*budget
}

// A node with what is taken of it.
type node struct {
	*Node
	index    int32
	hash     uint64
	free     api.Resources
	extended map[string]int64 // that are free
	pods     int
	ports    []corev1.ContainerPort // of the node, that pods hold
	held     int                    // how many of the ports running pods hold, and not those placed now
	// later is the room that comes when pods have ended, less what refused pods wait for.
	later room
	// siblings and relatives count the pods of the owner in question here: those of its template, and all.
	siblings, relatives int32
}

// A peer is a pod that runs on a node.
type peer struct {
	node     *node
	template api.Digest
}

func newFleet(in *Input) *fleet {
	f := &fleet{
		in: in, nodes: make([]*node, len(in.Nodes)), named: make(map[string]*node, len(in.Nodes)), peers: map[api.Ref][]peer{},
		claims: map[string]*node{}, volumes: volumes{claimOf: map[string]api.Ref{}, of: map[api.Ref]string{}}, classes: map[string]*class{},
	}
	for i := range in.Nodes {
		n := &node{Node: &in.Nodes[i], hash: hash(in.Nodes[i].Name), free: in.Nodes[i].Allocatable, extended: maps.Clone(in.Nodes[i].Extended)}
		f.nodes[i], f.named[n.Name] = n, n
		for t := range n.Taints {
			f.squeezed = f.squeezed || isSqueeze(&n.Taints[t])
		}
		for _, claim := range n.Claims {
			f.lay(claim.Namespace+"/"+claim.Name, n)
		}
	}
	slices.SortFunc(f.nodes, func(a, b *node) int { return cmp.Compare(a.Name, b.Name) })
	for i, n := range f.nodes {
		n.index = int32(i)
	}
	if in.haveRules() {
		f.pods = newCensus(in.Namespaces)
	}
	for i := range in.Running {
		r := &in.Running[i]
		n := f.named[r.Node]
		if n == nil {
			continue // its node has left
		}
		n.give(room{r.Requests, r.Extended, 1})
		n.ports = append(n.ports, r.HostPorts...)
		for _, claim := range r.Claims {
			f.lay(r.Owner.Namespace+"/"+claim, n)
		}
		if !r.Stopping {
			f.peers[r.Owner] = append(f.peers[r.Owner], peer{n, r.Template})
		}
		if f.pods != nil {
			f.kindOfRunning(r).add(n, r.Stopping)
		}
	}
	for _, n := range f.nodes {
		n.held = len(n.ports)
	}
	return f
}

// countPeers counts on every node the pods of the owner that asks.
func (f *fleet) countPeers(a *ask) {
	for _, p := range f.counted {
		p.node.siblings, p.node.relatives = 0, 0
	}
	f.counted = f.peers[a.owner]
	for _, p := range f.counted {
		p.node.relatives++
		if p.template == a.template {
			p.node.siblings++
		}
	}
}

// take gives the node's room to a pod.
func (f *fleet) take(n *node, a *ask) {
	n.give(a.room())
	n.siblings++
	n.relatives++
	f.peers[a.owner] = append(f.peers[a.owner], peer{n, a.template})
	f.counted = f.peers[a.owner]
	f.join(n, a, false)
}

// join makes a pod, beside the room that it takes, one of those on the node. One that waits for others to end counts like
// one that ends: who must keep away from it does, but it is not there.
func (f *fleet) join(n *node, a *ask, waits bool) {
	n.ports = append(n.ports, a.ports...)
	for _, claim := range a.claims {
		f.lay(claim, n)
	}
	if a.kind == nil {
		return
	}
	a.kind.add(n, waits)
	for _, rules := range [][]*rule{a.strict, a.soft} {
		for _, r := range rules {
			if r.self && (!waits || r.countsLeaving()) {
				r.count(n, 1)
			}
		}
	}
}
