package api

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A Pressure says that a node runs short of something, or did a short while ago. Written by the node.
type Pressure struct {
	Condition corev1.NodeConditionType `json:"condition"` // MemoryPressure or DiskPressure
	Since     time.Time                `json:"since"`
	Message   string                   `json:"message"` // what there was left of what when it began
}

// Taint is what keeps new pods off such a node, as Kubernetes taints it.
func (p Pressure) Taint() corev1.Taint {
	key := corev1.TaintNodeMemoryPressure
	if p.Condition == corev1.NodeDiskPressure {
		key = corev1.TaintNodeDiskPressure
	}
	return corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule}
}
