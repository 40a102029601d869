package planner

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A statefulSet is a StatefulSet in one pass: pods with an ordinal, a name and claims of their own, of which no two with
// one ordinal are ever there together.
type statefulSet struct {
	*rollout
	set      *appsv1.StatefulSet
	first    int            // the lowest ordinal
	holders  map[int][]*Pod // all observed of an ordinal
	ordered  bool           // one after the other, each when those before it are available
	onDelete bool           // a pod gets a new template only when it ends for another reason
	// partition is the ordinal from which on pods are updated.
	partition int
	// disruption is how many wanted pods may be missing or not available for an update to go on.
	disruption int
}

// statefulSet plans a StatefulSet.
func (p *pass) statefulSet(w workload, set *appsv1.StatefulSet) {
	s := statefulSet{set: set, holders: map[int][]*Pod{}, disruption: 1}
	s.ordered = set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
	s.onDelete = set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType
	if o := set.Spec.Ordinals; o != nil {
		s.first = int(o.Start)
	}
	replicas := p.replicasOf(w, set.Spec.Replicas)
	if u := set.Spec.UpdateStrategy.RollingUpdate; u != nil && !s.onDelete {
		if u.Partition != nil {
			s.partition = s.first + int(*u.Partition)
		}
		if u.MaxUnavailable != nil {
			s.disruption = atLeastOne(u.MaxUnavailable, replicas)
		}
	}
	s.rollout = p.newRollout(w, rollout{
		replicas:  replicas,
		minReady:  time.Duration(set.Spec.MinReadySeconds) * time.Second,
		deadline:  defaultDeadline,
		beyond:    func(pod *Pod) bool { return pod.Slot < s.first || pod.Slot >= s.first+replicas },
		exempt:    func(pod *Pod) bool { return s.onDelete || pod.Slot < s.partition },
		exclusive: true,
	})
	for _, pod := range s.pods {
		s.holders[pod.Slot] = append(s.holders[pod.Slot], pod)
	}
	s.stopGone()
	s.stopTwins()
	s.scaleDown()
	s.fillOrdinals()
	if s.held == "" {
		s.update()
	}
}

// statefulSpec is the spec of a set's pods: each stands behind the set's service, and has a volume for every claim.
func statefulSpec(set *appsv1.StatefulSet) *corev1.PodSpec {
	spec := set.Spec.Template.Spec
	if spec.Subdomain == "" {
		spec.Subdomain = set.Spec.ServiceName
	}
	if len(set.Spec.VolumeClaimTemplates) == 0 {
		return &spec
	}
	claimed := map[string]bool{}
	var volumes []corev1.Volume
	for i := range set.Spec.VolumeClaimTemplates {
		name := set.Spec.VolumeClaimTemplates[i].Name
		claimed[name] = true
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name + "-" + set.Name},
		}})
	}
	for _, v := range spec.Volumes {
		if !claimed[v.Name] { // a claim goes before a volume of its name, as in Kubernetes
			volumes = append(volumes, v)
		}
	}
	spec.Volumes = volumes
	return &spec
}

// atLeastOne scales a number or percentage of replicas, and gives one where that comes to nothing.
func atLeastOne(value *intstr.IntOrString, replicas int) int {
	n, err := intstr.GetScaledValueFromIntOrPercent(value, replicas, true)
	if err != nil {
		return 1
	}
	return max(1, n)
}

// stopTwins leaves one pod of each ordinal. There are two only where something went wrong outside, such as a node that was
// taken for fenced.
func (s *statefulSet) stopTwins() {
	alone := map[int]bool{}
	for _, pod := range s.live { // the best first
		if alone[pod.Slot] {
			s.stop(pod, ClassSurplus, fmt.Sprintf("another pod %s runs", pod.Pod.Name))
		}
		alone[pod.Slot] = true
	}
}

// settled reports whether the wanted ordinals below one are all available, and nothing is on its way out.
func (s *statefulSet) settled(below int) bool {
	if len(s.of[ClassStopping]) > 0 {
		return false
	}
	for ordinal := s.first; ordinal < below; ordinal++ {
		if !slices.ContainsFunc(s.holders[ordinal], s.available) {
			return false
		}
	}
	return true
}

// scaleDown stops what is beyond the wanted ordinals, the highest first. In order, that is one at a time of those that serve,
// and none while another is missing.
func (s *statefulSet) scaleDown() {
	surplus := slices.SortedFunc(slices.Values(s.of[ClassSurplus]), func(a, b *Pod) int { return b.Slot - a.Slot })
	going := false
	for _, pod := range surplus {
		if s.ordered && pod.Ready && (going || !s.settled(s.first+s.replicas)) {
			continue
		}
		going = true
		s.stop(pod, ClassSurplus, s.surplusReason())
	}
}

// fillOrdinals makes pods for the ordinals that nothing is left of.
func (s *statefulSet) fillOrdinals() {
	for ordinal := s.first; ordinal < s.first+s.replicas; ordinal++ {
		taken := slices.ContainsFunc(s.holders[ordinal], func(pod *Pod) bool { return !pod.Lost || !pod.Fenced })
		switch template, known := s.templateFor(ordinal); {
		case !known || taken:
		case s.in.Unseen != "":
			s.refuse(s.owner, "pods are not made, for they may run already: "+s.in.Unseen)
		default:
			s.add(s.podOf(ordinal, template), template)
		}
		if s.ordered && !slices.ContainsFunc(s.holders[ordinal], s.available) {
			return
		}
	}
}

// templateFor is what a new pod of the ordinal is made of: the wanted template, or below the partition the one that is
// known to be good.
func (s *statefulSet) templateFor(ordinal int) (Template, bool) {
	if s.held != "" {
		return s.heldTemplate()
	}
	if ordinal < s.partition && s.status.Stable != "" && s.status.Stable != s.template.Digest {
		if t, ok := s.restore(s.status.Stable); ok {
			return t, true
		}
	}
	return s.template, true
}

func (s *statefulSet) podOf(ordinal int, template Template) Action {
	var last *Pod
	incarnation := 0
	for _, pod := range s.holders[ordinal] {
		if last == nil || pod.Incarnation >= last.Incarnation {
			last = pod
		}
		if pod.Template == template.Digest {
			incarnation = max(incarnation, pod.Incarnation+1)
		}
	}
	id := identify(s.owner, template.Digest, ordinal, incarnation)
	id.Pod.Name = s.owner.Name + "-" + strconv.Itoa(ordinal)
	a := Action{Pod: id, Reason: s.creationReason(last)}
	a.own.labels = map[string]string{
		appsv1.StatefulSetPodNameLabel: id.Pod.Name,
		appsv1.PodIndexLabel:           strconv.Itoa(ordinal),
	}
	if len(s.set.Spec.VolumeClaimTemplates) > 0 {
		a.own.claims = map[string]string{}
	}
	for i := range s.set.Spec.VolumeClaimTemplates {
		name := s.set.Spec.VolumeClaimTemplates[i].Name
		a.own.claims[name] = name + "-" + id.Pod.Name
	}
	return a
}

// update stops pods that are to be made anew. One that is not ready serves nobody and goes at once, whatever its order: it
// may be what a broken template left behind, which would never get ready to let its successor come. Of the others the
// highest ordinals go first, as many as may be missing.
func (s *statefulSet) update() {
	old := slices.SortedFunc(slices.Values(s.of[ClassOutdated]), func(a, b *Pod) int { return b.Slot - a.Slot })
	for _, pod := range old {
		if !pod.Ready {
			s.stopOutdated([]*Pod{pod})
		}
	}
	unavailable := 0
	for ordinal := s.first; ordinal < s.first+s.replicas; ordinal++ {
		if !slices.ContainsFunc(s.holders[ordinal], s.available) {
			unavailable++
		}
	}
	for _, pod := range old {
		if s.stopped[pod] {
			continue
		}
		if s.available(pod) {
			unavailable++
		}
		if unavailable > s.disruption {
			return
		}
		s.stopOutdated([]*Pod{pod})
	}
}
