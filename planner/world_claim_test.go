package planner

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// newStorageObject reads a claim, a storageclass or a volume; nil is another kind.
func newStorageObject(word string, meta metav1.ObjectMeta, f fields) (string, runtime.Object) {
	switch word {
	case "claim":
		return "PersistentVolumeClaim", &corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: newClaimSpec(f)}
	case "storageclass":
		provisioner, _ := f.take("by")
		return "StorageClass", &storagev1.StorageClass{ObjectMeta: meta, Provisioner: provisioner}
	case "volume":
		meta.Namespace = ""
		return "PersistentVolume", newVolume(meta, f)
	}
	return "", nil
}

func newClaimSpec(f fields) corev1.PersistentVolumeClaimSpec {
	var spec corev1.PersistentVolumeClaimSpec
	if class, ok := f.take("class"); ok {
		spec.StorageClassName = &class
	}
	if size, ok := f.take("size"); ok {
		spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	}
	spec.VolumeName, _ = f.take("on")
	spec.AccessModes = accessModes(f)
	if label, ok := f.take("selects"); ok {
		spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"disk": label}}
	}
	return spec
}

func accessModes(f fields) []corev1.PersistentVolumeAccessMode {
	var modes []corev1.PersistentVolumeAccessMode
	list, _ := f.take("modes")
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		modes = append(modes, corev1.PersistentVolumeAccessMode(word))
	}
	return modes
}

// newVolume is a declared volume: the directory /disks/NAME, of the node that at=NODE names, if any.
func newVolume(meta metav1.ObjectMeta, f fields) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: meta}
	v.Spec.StorageClassName, _ = f.take("class")
	v.Spec.AccessModes = accessModes(f)
	size, ok := f.take("size")
	if !ok {
		size = "1Gi"
	}
	v.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	v.Spec.HostPath = &corev1.HostPathVolumeSource{Path: "/disks/" + meta.Name}
	if label, ok := f.take("disk"); ok {
		v.Labels = map[string]string{"disk": label}
	}
	if claim, ok := f.take("for"); ok {
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "shop", Name: claim}
	}
	if node, ok := f.take("at"); ok {
		v.Spec.HostPath, v.Spec.Local = nil, &corev1.LocalVolumeSource{Path: "/disks/" + meta.Name}
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
		}}}}
	}
	return v
}

// heldVolume is the volume that a pod has a claim on; empty is none.
func heldVolume(pod *Pod, claim api.Ref) string {
	for _, v := range pod.Volumes {
		if claimRef(pod.Pod.Namespace, v.Claim) == claim {
			return v.Volume
		}
	}
	return ""
}

// setClaims gives a set claims by the name claim=NAME, and what becomes of them.
func setClaims(spec *appsv1.StatefulSetSpec, f fields) {
	name, ok := f.take("claim")
	if !ok {
		return
	}
	spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: newClaimSpec(f)}}
	policy := &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{}
	if _, ok := f.take("whenDeleted"); ok {
		policy.WhenDeleted = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	}
	if _, ok := f.take("whenScaled"); ok {
		policy.WhenScaled = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	}
	spec.PersistentVolumeClaimRetentionPolicy = policy
}

// holdClaims has the nodes report the claims of the pods that they run, as they are told of them, and no longer what they
// are to delete.
func (w *world) holdClaims() {
	plan := w.compute()
	p := newPass(w.Input, &memory{want: newWanted(w.Desired)}, observe(w.Pods, 0))
	for _, r := range plan.Released {
		w.Claims = slices.DeleteFunc(w.Claims, func(c api.HeldClaim) bool { return c.Ref == r.Ref && c.Node == r.Node })
	}
	for i := range w.Pods {
		pod := &w.Pods[i]
		for _, ref := range p.claimsOfPod(pod) {
			if pod.Phase == api.PodPending || slices.ContainsFunc(w.Claims, func(c api.HeldClaim) bool { return c.Ref == ref && c.Node == pod.Node }) {
				continue
			}
			for _, c := range plan.Claims {
				if c.Ref == ref {
					c.Volume = heldVolume(pod, ref)
					w.Claims = append(w.Claims, api.HeldClaim{Claim: c, Node: pod.Node, Time: w.Now})
				}
			}
		}
	}
}

func (w *world) printClaims() string {
	plan := w.compute()
	var b strings.Builder
	for _, c := range plan.Claims {
		fmt.Fprintf(&b, "%s of %s: %d bytes", c.Ref, c.Owner, c.Size)
		for _, mark := range []struct {
			set  bool
			name string
		}{{c.Volume != "", "bound to " + c.Volume}, {c.Class != "", "class " + c.Class}, {c.WhenDeleted, "deleted with it"}, {c.WhenScaled, "deleted when scaled"}} {
			if mark.set {
				b.WriteString(", " + mark.name)
			}
		}
		for _, held := range w.Claims {
			if held.Ref == c.Ref {
				b.WriteString(", on " + held.Node)
			}
		}
		b.WriteString("\n")
	}
	for _, r := range plan.Released {
		fmt.Fprintf(&b, "released %s on %s by %s: %s\n", r.Ref, r.Node, r.Commit, r.Reason)
	}
	return b.String()
}
