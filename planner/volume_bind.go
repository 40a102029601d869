package planner

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
)

// bindings say which declared volume each claim has. They are made when the first pod of a claim is placed, and from then on
// held by nodes: in that pod's placement, and among the claims that its node has. A claim that no pod has had is bound to
// nothing.
type bindings struct {
	volumes map[api.Ref]string // by claim
	claims  map[string]api.Ref // by volume
	own     map[api.Ref]bool   // the claims with a directory of their own
}

// bindingsOf collects the bindings that nodes hold. Of two claims that say they have one volume, which takes machines that
// did not know of each other, the first by ref has it.
func bindingsOf(in *Input, seen *observed) *bindings {
	b := &bindings{volumes: map[api.Ref]string{}, claims: map[string]api.Ref{}, own: map[api.Ref]bool{}}
	for i := range in.Claims {
		held := &in.Claims[i]
		if held.Volume == "" {
			b.own[held.Ref] = true
		} else {
			b.add(held.Ref, held.Volume)
		}
	}
	for _, g := range seen.sorted {
		if !g.traits.volumes {
			continue
		}
		for _, pod := range g.pods {
			for _, v := range pod.Volumes {
				b.add(claimRef(pod.Pod.Namespace, v.Claim), v.Volume)
			}
		}
	}
	return b
}

func (b *bindings) add(claim api.Ref, volume string) {
	if before, ok := b.volumes[claim]; !ok || volume < before {
		b.volumes[claim] = volume
	}
	if before, ok := b.claims[volume]; !ok || claim.Compare(before) < 0 {
		b.claims[volume] = claim
	}
}

// boundTo gives the claim that has a volume, as what keeps the volume from being deleted.
func (b *bindings) boundTo(ref api.Ref) (claim api.Ref, ok bool) {
	if ref.Kind != "PersistentVolume" {
		return api.Ref{}, false
	}
	claim, ok = b.claims[ref.Name]
	return claim, ok
}

// A VolumeChoice is a claim of a new pod that needs a declared volume.
type VolumeChoice struct {
	Claim api.Ref
	// Volumes are those that it may have, the best first; of a claim that is bound, the one it has.
	Volumes []*corev1.PersistentVolume
}

// VolumeChoices are the claims of a created pod that need declared volumes, ordered by claim. Which of its volumes each
// takes goes with where the pod runs.
func (a Action) VolumeChoices() []VolumeChoice { return a.own.choices }

// Bound gives what a created pod has of declared volumes, by the volume of its template. chosen has the name of the volume of
// each claim, by the claim's name; of one that is not in it that is the best.
func (a Action) Bound(chosen map[string]string) map[string]api.BoundVolume {
	var bound map[string]api.BoundVolume
	for i := range a.own.choices {
		choice := &a.own.choices[i]
		v := choice.Volumes[0]
		if j := slices.IndexFunc(choice.Volumes, func(v *corev1.PersistentVolume) bool { return v.Name == chosen[choice.Claim.Name] }); j >= 0 {
			v = choice.Volumes[j]
		}
		for _, volume := range a.Template.Spec.Volumes {
			if claimOf(&volume, a.own.claims) != choice.Claim.Name {
				continue
			}
			if bound == nil {
				bound = map[string]api.BoundVolume{}
			}
			bound[volume.Name] = boundVolume(choice.Claim.Name, v)
		}
	}
	return bound
}

// claimOf is the name of the claim behind a pod's volume; empty is none.
func claimOf(v *corev1.Volume, own map[string]string) string {
	switch {
	case v.PersistentVolumeClaim == nil:
		return ""
	case own[v.Name] != "":
		return own[v.Name]
	}
	return v.PersistentVolumeClaim.ClaimName
}

func boundVolume(claim string, v *corev1.PersistentVolume) api.BoundVolume {
	b := api.BoundVolume{Claim: claim, Volume: v.Name}
	switch {
	case v.Spec.Local != nil:
		b.Path, b.Type, b.Local = v.Spec.Local.Path, corev1.HostPathDirectory, true
	case v.Spec.HostPath != nil:
		b.Path = v.Spec.HostPath.Path
		if v.Spec.HostPath.Type != nil {
			b.Type = *v.Spec.HostPath.Type
		}
	}
	return b
}

// A forecast binds what a plan creates where nobody places it: each claim takes the best volume that no other has taken.
type forecast struct {
	taken map[string]api.Ref // by volume
	of    map[api.Ref]string // the volume of a claim
}

// bind gives what a pod has of declared volumes. It reports false where those before it leave none for a claim: such a pod
// stays pending.
func (f *forecast) bind(a *Action) (map[string]api.BoundVolume, bool) {
	chosen := map[string]string{}
	for _, choice := range a.own.choices {
		i := slices.IndexFunc(choice.Volumes, func(v *corev1.PersistentVolume) bool {
			by, taken := f.taken[v.Name]
			had, bound := f.of[choice.Claim]
			return (!taken || by == choice.Claim) && (!bound || had == v.Name)
		})
		if i < 0 {
			return nil, false
		}
		name := choice.Volumes[i].Name
		f.taken[name], f.of[choice.Claim], chosen[choice.Claim.Name] = choice.Claim, name, name
	}
	return a.Bound(chosen), true
}

// volumes sets aside the claims of a new pod that have declared volumes, and gives the others: those have directories. It
// reports false where a claim can have neither, and tells why.
func (p *pass) volumes(a *Action, refs []api.Ref) (others []api.Ref, ok bool) {
	for _, ref := range refs {
		choice, why := p.volumeFor(ref)
		switch {
		case why != "":
			p.refuse(a.Pod.Owner, why)
			return nil, false
		case choice == nil:
			others = append(others, ref)
		default:
			a.own.choices = append(a.own.choices, VolumeChoice{Claim: ref, Volumes: choice})
		}
	}
	return others, true
}

// volumeFor gives the volumes that a claim may have; none is that it has a directory. If it can have neither, why says so.
func (p *pass) volumeFor(ref api.Ref) (choice []*corev1.PersistentVolume, why string) {
	s, b := p.want.storage, p.bound()
	if name, bound := b.volumes[ref]; bound {
		v := s.volume(name)
		switch owner := b.claims[name]; {
		case owner != ref:
			return nil, fmt.Sprintf("%s is bound to the PersistentVolume %s, and so is %s: one of them has to be declared anew by another name", ref, name, owner)
		case v == nil:
			return nil, fmt.Sprintf("%s is bound to the PersistentVolume %s, which is not declared any more: declare it again, as its data is there", ref, name)
		}
		return []*corev1.PersistentVolume{v}, ""
	}
	spec := s.specOf(ref)
	if b.own[ref] || spec == nil {
		return nil, ""
	}
	if choice, why = s.choices(ref, spec, b); len(choice) > 0 || s.makes(spec) {
		return choice, ""
	}
	return nil, why
}

// bound are the bindings, with the directories of claims whose first pod no node has taken up yet.
func (p *pass) bound() *bindings {
	if len(p.want.storage.volumes) == 0 || p.ownKnown {
		return p.bindings
	}
	p.ownKnown = true
	for pod := range p.seen.all() {
		for _, ref := range p.claimsOfPod(pod) {
			if _, ok := p.bindings.volumes[ref]; !ok && !isEnded(pod) {
				p.bindings.own[ref] = true
			}
		}
	}
	return p.bindings
}

// heldVolume says what becomes of the binding that a node holds of a claim: it stays as long as the volume is in force, even
// when the claim is gone, since the claim's data is still on it. So a revert finds it again, and no other claim gets to see it.
func (p *pass) heldVolume(held *api.HeldClaim, used bool) (release string) {
	volume := volumeRef(held.Volume)
	if used || p.want.storage.volume(held.Volume) != nil || p.stays(volume) {
		return ""
	}
	return fmt.Sprintf("%s is gone from Git: the binding is forgotten, and the files stay", volume)
}

// capacityOf is how much a volume holds, as it says.
func capacityOf(v *corev1.PersistentVolume) *resource.Quantity {
	q := v.Spec.Capacity[corev1.ResourceStorage]
	return &q
}
