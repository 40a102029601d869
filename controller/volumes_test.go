package controller

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"headway.dev/headway/api"
)

// mountClaim gives pods a volume behind a claim; empty is none.
func mountClaim(spec *corev1.PodSpec, claim string) {
	if claim == "" {
		return
	}
	spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}}}
}

// newClaim is a claim of the class disk.
func newClaim(meta metav1.ObjectMeta, args map[string]string) api.Object {
	class := "disk"
	c := &corev1.PersistentVolumeClaim{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}, ObjectMeta: meta}
	c.Spec.StorageClassName, c.Spec.VolumeName = &class, args["on"]
	return api.Object{Ref: api.Ref{Kind: "PersistentVolumeClaim", Namespace: meta.Namespace, Name: meta.Name}, Value: c}
}

// newVolume is a directory of the node at=NODE, or of any.
func newVolume(name string, args map[string]string) api.Object {
	v := &corev1.PersistentVolume{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
	v.Spec.StorageClassName = "disk"
	v.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	v.Spec.HostPath = &corev1.HostPathVolumeSource{Path: "/disks/" + name}
	if node := args["at"]; node != "" {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
		}}}}
	}
	return api.Object{Ref: api.Ref{Kind: "PersistentVolume", Name: name}, Value: v}
}

// bindClaims notes the claims of a pod that have declared volumes.
func (m *machine) bindClaims(p api.Placement, now time.Time) {
	for _, name := range slices.Sorted(maps.Keys(p.Volumes)) {
		v := p.Volumes[name]
		ref := api.Ref{Kind: "PersistentVolumeClaim", Namespace: p.Pod.Namespace, Name: v.Claim}
		m.claims = slices.DeleteFunc(slices.Clone(m.claims), func(c api.HeldClaim) bool { return c.Ref == ref })
		m.claims = append(m.claims, api.HeldClaim{Claim: api.Claim{Ref: ref, Owner: ref, Volume: v.Volume}, Node: m.info.Name, Time: now})
	}
}

// describeVolumes names the declared volumes of a pod: "" or "+a+b".
func describeVolumes(p api.Placement) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.Volumes)) {
		b.WriteString("+" + p.Volumes[name].Volume)
	}
	return b.String()
}
