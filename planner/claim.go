package planner

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"headway.dev/headway/api"
)

// storage is what the desired objects say of claims.
type storage struct {
	declared map[api.Ref]api.Claim // the PersistentVolumeClaims
	sets     []api.Object          // the StatefulSets that make claims, ordered by ref
	// classes are the provisioners of the declared StorageClasses, by name.
	classes map[string]string
	// volumes are the PersistentVolumes, the smallest first. offered are their classes, and named those that a claim asks for
	// by name, with the claim.
	volumes []*corev1.PersistentVolume
	offered map[string]bool
	named   map[string]api.Ref
	specs   map[api.Ref]*corev1.PersistentVolumeClaimSpec // of the declared claims
	// refused says of a declared claim why there can be no such storage.
	refused  map[api.Ref]string
	problems []api.Problem
}

func claimRef(namespace, name string) api.Ref {
	return api.Ref{Kind: "PersistentVolumeClaim", Namespace: namespace, Name: name}
}

func newStorage(objects []api.Object) *storage {
	s := &storage{
		declared: map[api.Ref]api.Claim{}, classes: map[string]string{}, refused: map[api.Ref]string{},
		offered: map[string]bool{}, named: map[string]api.Ref{}, specs: map[api.Ref]*corev1.PersistentVolumeClaimSpec{},
	}
	for i := range objects {
		switch v := objects[i].Value.(type) {
		case *storagev1.StorageClass:
			s.classes[v.Name] = v.Provisioner
		case *corev1.PersistentVolume:
			s.addVolume(v)
		}
	}
	slices.SortFunc(s.volumes, compareVolumes)
	for _, o := range objects {
		switch v := o.Value.(type) {
		case *corev1.PersistentVolumeClaim:
			c := newClaim(o.Ref, &v.Spec)
			c.Owner = o.Ref
			s.declared[o.Ref], s.specs[o.Ref] = c, &v.Spec
			if by, named := s.named[v.Spec.VolumeName]; v.Spec.VolumeName != "" && (!named || o.Ref.Compare(by) < 0) {
				s.named[v.Spec.VolumeName] = o.Ref
			}
			if field, why := s.refuse(&v.Spec); why != "" {
				s.refused[o.Ref] = why
				s.problems = append(s.problems, api.Problem{Ref: o.Ref, Source: o.Source, Field: "spec." + field, Message: why})
			}
		case *appsv1.StatefulSet:
			if len(v.Spec.VolumeClaimTemplates) > 0 {
				s.sets = append(s.sets, o)
			}
		}
	}
	slices.SortFunc(s.sets, func(a, b api.Object) int { return a.Ref.Compare(b.Ref) })
	slices.SortStableFunc(s.problems, func(a, b api.Problem) int { return a.Ref.Compare(b.Ref) })
	return s
}

func newClaim(ref api.Ref, spec *corev1.PersistentVolumeClaimSpec) api.Claim {
	size := spec.Resources.Requests[corev1.ResourceStorage]
	return api.Claim{Ref: ref, Size: size.Value(), Class: valueOr(spec.StorageClassName)}
}

// refuse says why there is no such storage here, and of which field; empty is nothing.
func (s *storage) refuse(spec *corev1.PersistentVolumeClaimSpec) (field, why string) {
	class := valueOr(spec.StorageClassName)
	provisioner, declared := s.classes[class]
	switch {
	case spec.VolumeName != "":
		if s.volume(spec.VolumeName) == nil {
			return "volumeName", fmt.Sprintf("there is no PersistentVolume %s: declare it, or leave the name out", spec.VolumeName)
		}
	case s.offered[class]:
	case declared && provisioner != api.LocalProvisioner && provisioner != api.NoProvisioner:
		return "storageClassName", fmt.Sprintf("the storage class %s is of %s, which is not run here: give it the provisioner %s", class, provisioner, api.LocalProvisioner)
	case !declared && class != "" && class != api.LocalClass:
		return "storageClassName", fmt.Sprintf("there is no storage class %s: take %s, or declare a StorageClass %s with the provisioner %s, or a PersistentVolume of that class",
			class, api.LocalClass, class, api.LocalProvisioner)
	}
	return "", ""
}

// check says why pods of a workload could not have the storage that they ask for.
func (s *storage) check(o api.Object, spec *corev1.PodSpec) error {
	own := map[string]bool{}
	if set, ok := o.Value.(*appsv1.StatefulSet); ok {
		for i := range set.Spec.VolumeClaimTemplates {
			t := &set.Spec.VolumeClaimTemplates[i]
			own[t.Name] = true
			if field, why := s.refuse(&t.Spec); why != "" {
				return fmt.Errorf("volumeClaimTemplates[%s].spec.%s: %s", t.Name, field, why)
			}
		}
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		if v.Ephemeral != nil {
			if err := s.checkEphemeral(v); err != nil {
				return err
			}
		}
		if v.PersistentVolumeClaim == nil || own[v.Name] {
			continue
		}
		ref := claimRef(o.Ref.Namespace, v.PersistentVolumeClaim.ClaimName)
		_, declared := s.declared[ref]
		switch why := s.refused[ref]; {
		case why != "":
			return fmt.Errorf("%s: %s", ref, why)
		case !declared && s.specOf(ref) == nil:
			return fmt.Errorf("not declared: claim %s/%s (used by volume %s); declare it", ref.Namespace, ref.Name, v.Name)
		}
	}
	return nil
}

// specOf is what a claim asks for: as it is declared, or as a StatefulSet makes claims of such a name. Nil is neither.
func (s *storage) specOf(ref api.Ref) *corev1.PersistentVolumeClaimSpec {
	if spec := s.specs[ref]; spec != nil {
		return spec
	}
	for _, o := range s.sets {
		set, ok := o.Value.(*appsv1.StatefulSet)
		if !ok || o.Ref.Namespace != ref.Namespace {
			continue
		}
		for i := range set.Spec.VolumeClaimTemplates {
			t := &set.Spec.VolumeClaimTemplates[i]
			ordinal, found := strings.CutPrefix(ref.Name, t.Name+"-"+set.Name+"-")
			if _, err := strconv.ParseUint(ordinal, 10, 31); found && err == nil {
				return &t.Spec
			}
		}
	}
	return nil
}

// claims puts all claims into the plan: those that are wanted, those that are only kept, and those that may be deleted. What
// a node has is among the kept or among the released ones, and released only by leave of its author.
func (p *pass) claims() {
	wanted := map[api.Ref]api.Claim{}
	policies := map[api.Ref]*appsv1.StatefulSet{}
	for ref, c := range p.want.storage.declared {
		wanted[ref] = c
	}
	for _, o := range p.want.storage.sets {
		if set, ok := o.Value.(*appsv1.StatefulSet); ok {
			policies[o.Ref] = set
			p.claimsOf(o.Ref, set, wanted)
		}
	}
	approved := approvals(nil)
	if p.in.Prune {
		approved = parseApprovals(p.in.Revision.Message)
	}
	used := p.usedClaims()
	for _, held := range p.in.Claims {
		if held.Volume != "" {
			if why := p.heldVolume(&held, used[held.Ref]); why != "" {
				p.release(&held, why)
			} else if _, ok := wanted[held.Ref]; !ok {
				p.plan.Claims = append(p.plan.Claims, held.Claim)
			}
			continue
		}
		if _, ok := wanted[held.Ref]; ok {
			continue
		}
		if set := policies[held.Owner]; set != nil {
			held.WhenDeleted, held.WhenScaled = retention(set)
		}
		why := p.released(&held.Claim, policies[held.Owner] != nil, approved)
		if why == "" || used[held.Ref] {
			p.plan.Claims = append(p.plan.Claims, held.Claim)
			continue
		}
		p.release(&held, why)
	}
	for _, c := range wanted {
		c.Volume = p.bindings.volumes[c.Ref]
		p.plan.Claims = append(p.plan.Claims, c)
	}
	slices.SortFunc(p.plan.Claims, compareClaims)
	p.plan.Claims = slices.CompactFunc(p.plan.Claims, func(a, b api.Claim) bool { return a.Ref == b.Ref })
	slices.SortFunc(p.plan.Released, func(a, b api.ReleasedClaim) int { return cmp.Or(a.Ref.Compare(b.Ref), cmp.Compare(a.Node, b.Node)) })
}

func (p *pass) release(held *api.HeldClaim, why string) {
	p.plan.Released = append(p.plan.Released, api.ReleasedClaim{Ref: held.Ref, Node: held.Node, Reason: why, Commit: p.in.Revision.Commit})
}

// compareClaims orders claims; of two that nodes tell of differently that is first which lets less be deleted.
func compareClaims(a, b api.Claim) int {
	number := func(c api.Claim) int {
		n := 0
		if c.WhenDeleted {
			n++
		}
		if c.WhenScaled {
			n += 2
		}
		return n
	}
	return cmp.Or(a.Ref.Compare(b.Ref), cmp.Compare(number(a), number(b)), a.Owner.Compare(b.Owner),
		cmp.Compare(a.Ordinal, b.Ordinal), cmp.Compare(a.Size, b.Size), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Volume, b.Volume))
}

// claimsOf adds the claims of a set's wanted ordinals, named as in Kubernetes.
func (p *pass) claimsOf(owner api.Ref, set *appsv1.StatefulSet, wanted map[api.Ref]api.Claim) {
	replicas, first := p.want.replicas[owner], 0
	if n, ok := p.scaled[owner]; ok {
		replicas = n
	}
	if o := set.Spec.Ordinals; o != nil {
		first = int(o.Start)
	}
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		for ordinal := first; ordinal < first+replicas; ordinal++ {
			c := newClaim(claimRef(owner.Namespace, t.Name+"-"+set.Name+"-"+strconv.Itoa(ordinal)), &t.Spec)
			c.Owner, c.Ordinal = owner, ordinal
			c.WhenDeleted, c.WhenScaled = retention(set)
			if _, declared := wanted[c.Ref]; !declared { // what is declared by its own name goes before
				wanted[c.Ref] = c
			}
		}
	}
}

// retention says whether the data of a set's claims goes with the set, and with the pod's ordinal. By default it stays.
func retention(set *appsv1.StatefulSet) (whenDeleted, whenScaled bool) {
	policy := set.Spec.PersistentVolumeClaimRetentionPolicy
	if policy == nil {
		return false, false
	}
	return policy.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
		policy.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
}

// released says why the data of a claim that is not wanted may be deleted; empty is that it stays.
func (p *pass) released(c *api.Claim, ownerThere bool, approved approvals) string {
	switch {
	case !p.in.Prune || p.stays(c.Ref):
	case approved.cover(c.Ref, true):
		return "its deletion is approved by the commit"
	case ownerThere && c.WhenScaled:
		return fmt.Sprintf("%s has no ordinal %d any more, and its retention policy is to delete then", c.Owner, c.Ordinal)
	case !ownerThere && c.WhenDeleted && c.Owner.Kind == "StatefulSet" && !p.want.owners[c.Owner] && !p.stays(c.Owner):
		return fmt.Sprintf("%s is gone from Git, and its retention policy is to delete then", c.Owner)
	}
	return ""
}

// usedClaims are the claims of pods that are still there.
func (p *pass) usedClaims() map[api.Ref]bool {
	used := map[api.Ref]bool{}
	if len(p.in.Claims) == 0 {
		return used
	}
	for _, g := range p.seen.sorted {
		maps.Copy(used, p.claimsOfGroup(g))
	}
	return used
}

// keptClaims are the claims that the pods of an owner use, with what they were found by.
type keptClaims struct {
	reads
	want *wanted
	pods uint64 // their version
	used map[api.Ref]bool
}

func (p *pass) claimsOfGroup(g *group) map[api.Ref]bool {
	k := &g.claims
	if k.want == p.want && k.pods == g.version && k.same(&p.in) {
		return k.used
	}
	k.want, k.pods, k.used = p.want, g.version, map[api.Ref]bool{}
	defer p.read(&k.reads)()
	for _, pod := range g.pods {
		for _, ref := range p.claimsOfPod(pod) {
			k.used[ref] = true
		}
	}
	return k.used
}

// claimsOfPod are the claims that a pod uses: its own, and those that all pods of its template share.
func (p *pass) claimsOfPod(pod *Pod) []api.Ref {
	var refs []api.Ref
	for _, name := range pod.Claims {
		refs = append(refs, claimRef(pod.Pod.Namespace, name))
	}
	for _, v := range pod.Volumes { // even where the template is not at hand
		refs = append(refs, claimRef(pod.Pod.Namespace, v.Claim))
	}
	if spec := p.specOf(pod); spec != nil {
		refs = append(refs, sharedClaims(pod.Pod.Namespace, spec, pod.Claims)...)
	}
	return refs
}

// sharedClaims are the claims that pods of a spec use, but for those behind which each pod has its own.
func sharedClaims(namespace string, spec *corev1.PodSpec, own map[string]string) []api.Ref {
	var refs []api.Ref
	for i := range spec.Volumes {
		if c := spec.Volumes[i].PersistentVolumeClaim; c != nil && own[spec.Volumes[i].Name] == "" {
			refs = append(refs, claimRef(namespace, c.ClaimName))
		}
	}
	return refs
}
