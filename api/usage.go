package api

import "time"

// A NodeUsage is what the containers of a node use, and the node as a whole. Written by the node.
type NodeUsage struct {
	Node string    `json:"node"`
	Time time.Time `json:"time"`
	// Machine is what the whole machine uses; its Memory leaves out what the kernel can take back at once.
	Machine    Usage            `json:"machine"`
	Containers []ContainerUsage `json:"containers"` // ordered by pod and name
}

// A ContainerUsage is what a running container uses.
type ContainerUsage struct {
	Pod       Ref       `json:"pod"`
	UID       string    `json:"uid"`
	Container string    `json:"container"`
	Started   time.Time `json:"started,omitzero"`
	Usage
}

// A Usage is what has been measured at a time.
type Usage struct {
	Time time.Time `json:"time"`
	// CPU is the processor time used since the beginning, in nanoseconds: two measurements give a rate.
	CPU uint64 `json:"cpu"`
	// Memory is the working set in bytes: what is in use less the file pages that were not used of late.
	Memory uint64 `json:"memory"`
}

// MilliCPU is the mean use of processors between an earlier measurement and this one, in thousandths of a core; 0 if no
// time lies between, or the counter began anew.
func (u Usage) MilliCPU(earlier Usage) int64 {
	elapsed := u.Time.Sub(earlier.Time)
	if elapsed <= 0 || u.CPU < earlier.CPU {
		return 0
	}
	return int64(float64(u.CPU-earlier.CPU) * 1000 / float64(elapsed))
}
