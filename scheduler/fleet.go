package scheduler

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A fleet is the nodes with what is taken of them.
type fleet struct {
	nodes []*node // ordered by name
	// peers are where pods of an owner run that are to stay.
	peers map[api.Ref][]peer
}

// A node with what is taken of it.
type node struct {
	*Node
	hash  uint64
	free  api.Resources
	pods  int
	ports []corev1.ContainerPort // of the node, that pods hold
	// siblings and relatives count the pods of the owner in question here: those of its template, and all.
	siblings, relatives int
}

// A peer is a pod that runs on a node.
type peer struct {
	node     *node
	template api.Digest
}

func newFleet(nodes []Node, running []Running) *fleet {
	f := &fleet{nodes: make([]*node, len(nodes)), peers: map[api.Ref][]peer{}}
	named := make(map[string]*node, len(nodes))
	for i := range nodes {
		n := &node{Node: &nodes[i], hash: hash(nodes[i].Name), free: nodes[i].Allocatable}
		f.nodes[i], named[n.Name] = n, n
	}
	slices.SortFunc(f.nodes, func(a, b *node) int { return cmp.Compare(a.Name, b.Name) })
	for i := range running {
		r := &running[i]
		n := named[r.Node]
		if n == nil {
			continue // its node has left
		}
		n.free = n.free.Sub(r.Requests)
		n.pods++
		n.ports = append(n.ports, r.HostPorts...)
		if !r.Stopping {
			f.peers[r.Owner] = append(f.peers[r.Owner], peer{n, r.Template})
		}
	}
	return f
}

// countPeers counts on every node the pods of the owner that asks.
func (f *fleet) countPeers(a *ask) {
	for _, n := range f.nodes {
		n.siblings, n.relatives = 0, 0
	}
	for _, p := range f.peers[a.owner] {
		p.node.relatives++
		if p.template == a.template {
			p.node.siblings++
		}
	}
}

// take gives the node's room to a pod.
func (f *fleet) take(n *node, a *ask) {
	n.free = n.free.Sub(a.requests)
	n.pods++
	n.ports = append(n.ports, a.ports...)
	n.siblings++
	n.relatives++
	f.peers[a.owner] = append(f.peers[a.owner], peer{n, a.template})
}
