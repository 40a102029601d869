package scheduler

import (
	"slices"

	"headway.dev/headway/api"
)

// volumes are the bindings that the pods decided so far have brought.
type volumes struct {
	claimOf map[string]api.Ref // by volume
	of      map[api.Ref]string // the volume of a claim
}

// volumesOn chooses a volume of the node for each claim of the pod, the best first: by claim, or without is the first claim
// for which there is none.
func (a *ask) volumesOn(n *node) (chosen map[string]string, without *VolumeClaim) {
	chosen = make(map[string]string, len(a.volumes))
	taken := make(map[string]bool, len(a.volumes))
	for i := range a.volumes {
		c := &a.volumes[i]
		free := slices.IndexFunc(c.Choices, func(v Volume) bool {
			if bound, ok := a.bound.of[c.Claim]; ok && bound != v.Name {
				return false
			}
			by, ok := a.bound.claimOf[v.Name]
			return !taken[v.Name] && (!ok || by == c.Claim) && v.isOn(n)
		})
		if free < 0 {
			return nil, c
		}
		chosen[c.Claim.Name], taken[c.Choices[free].Name] = c.Choices[free].Name, true
	}
	return chosen, nil
}

func (v *Volume) isOn(n *node) bool { return v.Affinity == nil || meetsAny(v.Affinity, n.Node) }

func lacksVolume(a *ask, n *node) bool {
	if len(a.volumes) == 0 {
		return false
	}
	_, without := a.volumesOn(n)
	return without != nil
}

// withoutVolume says which claim has no volume on the node.
func (a *ask) withoutVolume(n *node) phrase {
	_, c := a.volumesOn(n)
	claim := c.Claim.Namespace + "/" + c.Claim.Name
	bound, ok := a.bound.of[c.Claim]
	if len(c.Choices) == 1 {
		bound, ok = c.Choices[0].Name, true
	}
	if ok {
		return phrase{"does", "do"}.with(" not have the volume " + bound + " of its claim " + claim)
	}
	return has.with("no free volume for its claim " + claim)
}

// bind gives the pod's claims the volumes of the node that it goes to.
func (f *fleet) bind(a *ask, n *node) map[string]string {
	if len(a.volumes) == 0 {
		return nil
	}
	chosen, _ := a.volumesOn(n)
	for i := range a.volumes {
		claim := a.volumes[i].Claim
		name := chosen[claim.Name]
		f.volumes.claimOf[name], f.volumes.of[claim] = claim, name
	}
	return chosen
}
