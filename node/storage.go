package node

import (
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// allocatable is what the node has to give to pods.
func (a *Agent) allocatable() corev1.ResourceList {
	has := a.config.Info.Allocatable
	all := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(has.MilliCPU, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(has.Memory, resource.BinarySI),
	}
	var disk syscall.Statfs_t
	if syscall.Statfs(a.disk.dir, &disk) == nil {
		all[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(disk.Blocks)*disk.Bsize, resource.BinarySI)
	}
	return all
}
