package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"headway.dev/headway/api"
)

func volumeRef(name string) api.Ref { return api.Ref{Kind: "PersistentVolume", Name: name} }

// addVolume takes in a declared volume.
func (s *storage) addVolume(v *corev1.PersistentVolume) {
	s.volumes = append(s.volumes, v)
	s.offered[v.Spec.StorageClassName] = true
}

// volume finds a declared volume by name; nil is none.
func (s *storage) volume(name string) *corev1.PersistentVolume {
	i := slices.IndexFunc(s.volumes, func(v *corev1.PersistentVolume) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return s.volumes[i]
}

// compareVolumes orders volumes as claims take them: the smallest first, then by name.
func compareVolumes(a, b *corev1.PersistentVolume) int {
	return cmp.Or(capacityOf(a).Cmp(*capacityOf(b)), cmp.Compare(a.Name, b.Name))
}

// makes reports whether a claim that no declared volume fits has a directory made for it. One that names a volume, selects
// volumes by their labels, or asks for those without a class can only take what is declared.
func (s *storage) makes(spec *corev1.PersistentVolumeClaimSpec) bool {
	if spec.VolumeName != "" || selects(spec.Selector) {
		return false
	}
	if spec.StorageClassName == nil {
		return true
	}
	if provisioner, declared := s.classes[*spec.StorageClassName]; declared {
		return provisioner == api.LocalProvisioner
	}
	return *spec.StorageClassName == api.LocalClass
}

// checkEphemeral says why a pod could not have a claim of its own that goes with it. What is made for one is deleted with the
// pod, which is why a declared volume is not taken: its files would stay, and no other pod could ever have it.
func (s *storage) checkEphemeral(v *corev1.Volume) error {
	if v.Ephemeral.VolumeClaimTemplate == nil {
		return nil
	}
	spec := &v.Ephemeral.VolumeClaimTemplate.Spec
	field, why := s.refuse(spec)
	if why == "" && !s.makes(spec) && valueOr(spec.StorageClassName) != "" {
		field, why = "storageClassName", fmt.Sprintf("the class %s has only declared volumes, and what a pod leaves on one is not deleted with the pod: take the class %s",
			*spec.StorageClassName, api.LocalClass)
	} else if why == "" && !s.makes(spec) {
		field, why = "storageClassName", fmt.Sprintf("it has to be a directory that is made for the pod and goes with it, not a declared volume: take the class %s, without a selector and a volume's name", api.LocalClass)
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("volumes[%s].ephemeral.volumeClaimTemplate.spec.%s: %s", v.Name, field, why)
}

func selects(s *metav1.LabelSelector) bool {
	return s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0
}

// choices gives the volumes that an unbound claim may take, the best first: the one that is reserved for it; or else the
// smallest that fits, and of equal ones the first by name (Kubernetes: component-helpers/storage/volume, FindMatchingVolume).
// If there are none, why says what stands against each volume.
func (s *storage) choices(ref api.Ref, spec *corev1.PersistentVolumeClaimSpec, b *bindings) (fit []*corev1.PersistentVolume, why string) {
	var against []string
	for _, v := range s.volumes {
		if spec.VolumeName != "" && spec.VolumeName != v.Name {
			continue
		}
		switch reason := s.unfit(v, ref, spec, b); {
		case reason != "":
			against = append(against, v.Name+" "+reason)
		case isReservedFor(v, ref):
			return []*corev1.PersistentVolume{v}, ""
		default:
			fit = append(fit, v)
		}
	}
	if len(fit) > 0 {
		return fit, ""
	}
	return nil, missingVolume(ref, spec, against)
}

// missingVolume says that no volume fits a claim, and why each does not.
func missingVolume(ref api.Ref, spec *corev1.PersistentVolumeClaimSpec, against []string) string {
	const told = 5
	slices.Sort(against)
	looked := "no PersistentVolume is declared"
	if len(against) > 0 {
		looked = strings.Join(against[:min(told, len(against))], "; ")
	}
	if more := len(against) - told; more > 0 {
		looked += fmt.Sprintf("; and %d more do not fit either", more)
	}
	return fmt.Sprintf("no volume fits %s, which asks for %s: %s", ref, wish(spec), looked)
}

// wish is what a claim asks of a volume.
func wish(spec *corev1.PersistentVolumeClaimSpec) string {
	size := spec.Resources.Requests[corev1.ResourceStorage]
	words := []string{size.String()}
	for _, mode := range spec.AccessModes {
		words = append(words, string(mode))
	}
	if spec.StorageClassName == nil {
		return strings.Join(words, ", ")
	}
	return strings.Join(words, ", ") + " " + classPhrase(*spec.StorageClassName)
}

func classPhrase(class string) string {
	if class == "" {
		return "without a class"
	}
	return "of class " + class
}

// unfit says why a claim cannot take a volume, first what nobody can change about it; empty is that it can.
func (s *storage) unfit(v *corev1.PersistentVolume, ref api.Ref, spec *corev1.PersistentVolumeClaimSpec, b *bindings) string {
	reserved := isReservedFor(v, ref)
	size, capacity := spec.Resources.Requests[corev1.ResourceStorage], capacityOf(v)
	switch owner, bound := b.claims[v.Name]; {
	case bound && owner != ref:
		return "is bound to " + owner.String()
	case v.Spec.ClaimRef != nil && !reserved:
		return "is reserved for " + claimRef(v.Spec.ClaimRef.Namespace, v.Spec.ClaimRef.Name).String()
	case !reserved && !s.ofClass(v, spec):
		return "is " + classPhrase(v.Spec.StorageClassName)
	case !reserved && !selected(v, spec.Selector):
		return "lacks the labels that the claim selects"
	}
	if by, named := s.named[v.Name]; named && by != ref {
		return "is asked for by name by " + by.String()
	}
	for _, mode := range spec.AccessModes {
		if !slices.Contains(v.Spec.AccessModes, mode) {
			return "does not offer " + string(mode)
		}
	}
	if capacity.Cmp(size) < 0 {
		return "holds " + capacity.String()
	}
	return ""
}

// ofClass reports whether a volume is of the class that a claim asks for. A claim that says nothing of a class takes those
// without one, or of the class that it would have a directory of; and whatever volume it names.
func (s *storage) ofClass(v *corev1.PersistentVolume, spec *corev1.PersistentVolumeClaimSpec) bool {
	class := v.Spec.StorageClassName
	if spec.StorageClassName == nil {
		return class == "" || class == api.LocalClass || spec.VolumeName == v.Name
	}
	return class == *spec.StorageClassName
}

func isReservedFor(v *corev1.PersistentVolume, claim api.Ref) bool {
	r := v.Spec.ClaimRef
	return r != nil && r.Namespace == claim.Namespace && r.Name == claim.Name
}

func selected(v *corev1.PersistentVolume, selector *metav1.LabelSelector) bool {
	if selector == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(v.Labels))
}
