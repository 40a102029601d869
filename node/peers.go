package node

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"headway.dev/headway/api"
)

// peerGrace is how long a node that is not listed any more keeps its routes: when the bus has lost its store, the nodes
// come back to the list one by one.
const peerGrace = 10 * time.Minute

// peers keeps the routes to the other nodes.
type peers struct {
	agent  *Agent
	listed *latest[[]api.NodeInfo]
	known  map[string]peer // by name
	names  atomic.Pointer[[]string]
	infos  atomic.Pointer[[]api.NodeInfo]
}

// A peer is another node.
type peer struct {
	Info api.NodeInfo `json:"info"`
	Seen time.Time    `json:"seen"` // when it was last listed
}

func newPeers(a *Agent) *peers {
	return &peers{agent: a, listed: newLatest[[]api.NodeInfo](), known: map[string]peer{}}
}

// restore reads the nodes that were known when the daemon ran last.
func (p *peers) restore() {
	if err := p.agent.disk.read(peersFile, &p.known); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.agent.log.Error("the nodes on disk cannot be read: they are known again when the bus lists them", "error", err)
	}
	p.chooseNameservers()
	p.tell()
}

// tell has the list of peers be had by others.
func (p *peers) tell() []api.NodeInfo {
	infos := make([]api.NodeInfo, 0, len(p.known))
	for _, name := range slices.Sorted(maps.Keys(p.known)) {
		infos = append(infos, p.known[name].Info)
	}
	p.infos.Store(&infos)
	return infos
}

// list gives the other nodes, by name.
func (p *peers) list() []api.NodeInfo {
	if infos := p.infos.Load(); infos != nil {
		return *infos
	}
	return nil
}

// run follows the list of nodes until ctx is done.
func (p *peers) run(ctx context.Context) {
	a := p.agent
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.watch(ctx, "the nodes", func(ctx context.Context) error { return a.config.Bus.WatchNodes(ctx, p.listed.put) })
	}()
	p.listed.each(ctx, p.apply, a.failed("route the other nodes' pods"))
	<-done
}

// apply routes the nodes that are listed, and those that were until lately.
func (p *peers) apply(ctx context.Context, nodes []api.NodeInfo) error {
	p.merge(nodes, time.Now())
	p.chooseNameservers()
	if err := p.agent.config.Network.SetPeers(ctx, p.tell()); err != nil {
		return err
	}
	return p.agent.disk.write(peersFile, p.known, false)
}

// merge takes in a list. A node that is not in it stays for its grace, unless a listed one has its range.
func (p *peers) merge(nodes []api.NodeInfo, now time.Time) {
	ranges := map[string]bool{p.agent.config.Info.PodCIDR: true}
	for _, n := range nodes {
		ranges[n.PodCIDR] = true
	}
	maps.DeleteFunc(p.known, func(_ string, known peer) bool {
		return ranges[known.Info.PodCIDR] || now.Sub(known.Seen) >= peerGrace
	})
	for _, n := range nodes {
		if n.Name != p.agent.config.Info.Name {
			p.known[n.Name] = peer{n, now}
		}
	}
}

// maxNameservers is how many of the other nodes a pod asks for names; resolvers look at three name servers in all.
const maxNameservers = 2

// chooseNameservers picks the nodes that follow this one by name, so that the load of a node that is away is spread.
func (p *peers) chooseNameservers() {
	others := slices.Sorted(maps.Keys(p.known))
	next, _ := slices.BinarySearch(others, p.agent.config.Info.Name)
	var addresses []string
	for _, name := range slices.Concat(others[next:], others[:next]) {
		// Each node answers on the first address of its range.
		prefix, err := netip.ParsePrefix(p.known[name].Info.PodCIDR)
		if err == nil && len(addresses) < maxNameservers {
			addresses = append(addresses, prefix.Masked().Addr().Next().String())
		}
	}
	p.names.Store(&addresses)
}

// nameservers are where pods ask for names while this node's daemon is away.
func (p *peers) nameservers() []string {
	if addresses := p.names.Load(); addresses != nil {
		return *addresses
	}
	return nil
}
