package planner

import (
	"cmp"
	"fmt"
	"slices"

	"headway.dev/headway/api"
)

// sites says where the data of claims is, and so where their pods have to be.
type sites struct {
	held map[api.Ref]string // by what nodes report
	// shared are where pods are that share a claim, which no node has reported yet. Empty is that it makes no difference.
	shared map[api.Ref]string
	// coming are shared claims whose first pod has no node yet: others wait, or they would have a directory each.
	coming map[api.Ref]bool
}

// bind has a pod made where its data is. It reports false where that cannot be now, and tells why.
func (p *pass) bind(a *Action, template *api.PodTemplate) bool {
	shared := sharedClaims(a.Pod.Pod.Namespace, &template.Spec, a.own.claims)
	if len(shared) == 0 && len(a.own.claims) == 0 {
		return true
	}
	refs := slices.Clone(shared)
	for _, name := range a.own.claims {
		refs = append(refs, claimRef(a.Pod.Pod.Namespace, name))
	}
	slices.SortFunc(refs, api.Ref.Compare)
	refs, ok := p.volumes(a, slices.Compact(refs))
	if !ok {
		return false
	}
	shared = slices.DeleteFunc(shared, func(ref api.Ref) bool { return !slices.Contains(refs, ref) })
	s := p.claimSites(len(shared) > 0)
	for _, ref := range refs {
		node, known := s.held[ref]
		if !known {
			node = s.shared[ref]
		}
		switch {
		case s.coming[ref] && !known:
			return false
		case node == "" && p.in.Untold != "":
			p.refuse(a.Pod.Owner, fmt.Sprintf("no directory is made for %s, for it may have data: %s", ref, p.in.Untold))
			return false
		case node == "":
		case a.Pinned != "" && a.Pinned != node:
			p.refuse(a.Pod.Owner, fmt.Sprintf("%s is on node %s, where its pod cannot be", ref, node))
			return false
		default:
			if why := p.closed(node); why != "" {
				p.refuse(a.Pod.Owner, fmt.Sprintf("the data of %s is on node %s, which %s: its pod waits for the node", ref, node, why))
				return false
			}
			a.Pinned = node
		}
	}
	if a.Pinned == "" {
		for _, ref := range shared {
			_, somewhere := s.shared[ref]
			s.coming[ref] = !somewhere
		}
	}
	return true
}

// closed says why a node takes no pods now.
func (p *pass) closed(name string) string {
	i, ok := slices.BinarySearchFunc(p.nodes, name, func(n *Node, name string) int { return cmp.Compare(n.Name, name) })
	switch {
	case !ok:
	case p.nodes[i].Lost:
		return "is lost"
	case p.nodes[i].Draining:
		return "is being drained"
	case p.nodes[i].Cordoned:
		return "is cordoned"
	}
	return ""
}

// claimSites looks where data is; where pods are only if any share a claim. What a node has that nobody knows is left out:
// the machine was taken out of the fleet, and its data with it.
func (p *pass) claimSites(withPods bool) *sites {
	if p.sites == nil {
		p.sites = &sites{held: map[api.Ref]string{}, coming: map[api.Ref]bool{}}
		newest := map[api.Ref]*api.HeldClaim{}
		for i := range p.in.Claims {
			held := &p.in.Claims[i]
			if held.Volume != "" { // on whatever nodes its volume allows
				continue
			}
			known := slices.ContainsFunc(p.nodes, func(n *Node) bool { return n.Name == held.Node })
			if before := newest[held.Ref]; known && (before == nil || cmp.Or(held.Time.Compare(before.Time), cmp.Compare(before.Node, held.Node)) > 0) {
				newest[held.Ref] = held
				p.sites.held[held.Ref] = held.Node
			}
		}
	}
	if s := p.sites; withPods && s.shared == nil {
		s.shared = map[api.Ref]string{}
		for pod := range p.seen.all() {
			if !isLive(pod) || p.stopped[pod] {
				continue
			}
			for _, ref := range p.claimsOfPod(pod) {
				at, known := s.shared[ref]
				switch {
				case pod.Node == "" && !pod.Ready:
					s.coming[ref] = !known
				case !known || pod.Node < at:
					s.shared[ref] = pod.Node
					delete(s.coming, ref)
				}
			}
		}
	}
	return p.sites
}
