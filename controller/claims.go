package controller

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// heldClaims are the claims whose data nodes have, lost nodes too: what is there is there.
func (s *state) heldClaims() []api.HeldClaim {
	var held []api.HeldClaim
	for _, n := range s.sortedNodes() {
		for _, c := range n.status.Claims {
			c.Node = n.name
			held = append(held, c)
		}
	}
	return held
}

// claimsByNode gives where the data of each claim is. Of one claim on two nodes, where it was used last counts.
func (s *state) claimsByNode() map[string][]api.Ref {
	newest := map[api.Ref]api.HeldClaim{}
	for _, c := range s.heldClaims() {
		if c.Volume != "" { // the scheduler goes by where its volume may be
			continue
		}
		if last, ok := newest[c.Ref]; !ok || c.Time.After(last.Time) {
			newest[c.Ref] = c
		}
	}
	byNode := map[string][]api.Ref{}
	for _, ref := range slices.SortedFunc(maps.Keys(newest), api.Ref.Compare) {
		byNode[newest[ref].Node] = append(byNode[newest[ref].Node], ref)
	}
	return byNode
}

// claimNames are the claims with directories that a pod uses: those of its template, or in their place its own. Of a template
// that is not at hand, only its own are known.
func claimNames(spec *corev1.PodSpec, p api.Placement) []string {
	names := map[string]bool{}
	for volume, name := range p.Claims {
		if _, declared := p.Volumes[volume]; !declared {
			names[name] = true
		}
	}
	if spec != nil {
		for i := range spec.Volumes {
			v := &spec.Volumes[i]
			_, own := p.Claims[v.Name]
			if _, declared := p.Volumes[v.Name]; v.PersistentVolumeClaim != nil && !own && !declared {
				names[v.PersistentVolumeClaim.ClaimName] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// assignClaims says what the node is to know of the claims that it has, and which of them it is to delete.
func (s *state) assignClaims(n *node) (claims []api.Claim, released []api.ReleasedClaim) {
	if len(n.status.Claims)+len(s.released) == 0 {
		return nil, nil
	}
	for _, c := range s.claims {
		if slices.ContainsFunc(n.status.Claims, func(h api.HeldClaim) bool { return h.Ref == c.Ref }) {
			claims = append(claims, c)
		}
	}
	for _, r := range s.released {
		if r.Node == n.name {
			released = append(released, r)
		}
	}
	return claims, released
}
