package schema

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

func finishPersistentVolumeClaim(i *inspection, c *corev1.PersistentVolumeClaim) {
	i.claim([]any{"spec"}, &c.Spec)
}

// claim checks what a claim asks for, wherever it stands.
func (i *inspection) claim(at []any, c *corev1.PersistentVolumeClaimSpec) {
	i.labelSelector(under(at, "selector"), c.Selector)
	i.accessModes(under(at, "accessModes"), c.AccessModes)
	request := c.Resources.Requests[corev1.ResourceStorage]
	if request.Sign() <= 0 {
		i.fail(under(at, "resources", "requests", "storage"), "is 0: write how much the claim needs, such as 1Gi")
	}
	if limit, ok := c.Resources.Limits[corev1.ResourceStorage]; ok && request.Cmp(limit) > 0 {
		i.fail(under(at, "resources", "requests", "storage"), "%s is more than the limit, %s", request.String(), limit.String())
	}
}

func (i *inspection) accessModes(at []any, modes []corev1.PersistentVolumeAccessMode) {
	if len(modes) > 1 && slices.Contains(modes, corev1.ReadWriteOncePod) {
		i.fail(at, "ReadWriteOncePod may not be set beside other modes")
	}
}

func finishPersistentVolume(i *inspection, v *corev1.PersistentVolume) {
	i.accessModes([]any{"spec", "accessModes"}, v.Spec.AccessModes)
	if q := v.Spec.Capacity[corev1.ResourceStorage]; q.Sign() <= 0 {
		i.fail([]any{"spec", "capacity", "storage"}, "is 0: write how much the volume holds, such as 1Gi")
	}
	if v.Spec.Local != nil && v.Spec.NodeAffinity == nil {
		i.fail([]any{"spec", "nodeAffinity"}, "is required for a local volume: it says which node has it")
	}
	if v.Spec.NodeAffinity != nil {
		i.nodeSelector([]any{"spec", "nodeAffinity", "required"}, v.Spec.NodeAffinity.Required)
	}
	if v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
		i.warn([]any{"spec", "persistentVolumeReclaimPolicy"}, "\"Delete\" deletes nothing: the files of a declared volume are never touched, and it stays reserved for the claim that had it")
	}
	if v.Spec.HostPath != nil && v.Spec.HostPath.Path == "/" && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		i.fail([]any{"spec", "persistentVolumeReclaimPolicy"}, "\"Recycle\" would empty the node's disk")
	}
}
