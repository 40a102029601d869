package containerd

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

const (
	// Kubernetes' constants of the kernel's scheduler: shares of a whole core and the least there can be, the period of
	// quotas in microseconds and the least quota.
	sharesPerCore = 1024
	minShares     = 2
	maxShares     = 262144
	quotaPeriod   = 100000
	minQuota      = 1000
	// maxProcesses bounds the processes and threads of a container, so that one that forks without end harms no other.
	maxProcesses = 4096
	// Kubernetes' oom_score_adj by class: the kernel ends pods that asked for nothing first, and those that asked for all
	// that they may use last.
	oomBestEffort = 1000
	oomGuaranteed = -997
)

// hostLimits is what of the machine bounds its containers.
type hostLimits struct {
	seccomp  bool  // the kernel filters system calls
	appArmor bool  // the kernel confines by AppArmor
	swap     bool  // the kernel bounds how much of a control group it swaps out
	memory   int64 // bytes
	// oomFloor is the least oom_score_adj that containers can have. Below the daemon's own the kernel lets only
	// CAP_SYS_RESOURCE go, and runc fails without.
	oomFloor int
}

func readHostLimits(seccomp bool) hostLimits {
	h := hostLimits{seccomp: seccomp, appArmor: hasAppArmor(), swap: boundsSwap(), oomFloor: oomGuaranteed}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		h.memory = int64(info.Totalram) * int64(info.Unit)
	}
	if caps, err := cap.Current(); err != nil || !slices.Contains(caps, "CAP_SYS_RESOURCE") {
		h.oomFloor = 0
		if own, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
			h.oomFloor, _ = strconv.Atoi(strings.TrimSpace(string(own)))
		}
	}
	return h
}

// limit sets the resources of a container.
func (h hostLimits) limit(s *specs.Spec, config node.ContainerConfig) error {
	requests, limits := config.Container.Resources.Requests, config.Container.Resources.Limits
	for _, list := range []corev1.ResourceList{requests, limits} {
		for name, quantity := range list {
			if strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) && !quantity.IsZero() {
				return fmt.Errorf("resource %s: huge pages are not supported: remove it", name)
			}
		}
	}
	cpu, cpuLimit := requests.Cpu().MilliValue(), limits.Cpu().MilliValue()
	if cpu == 0 {
		cpu = cpuLimit
	}
	res := s.Linux.Resources
	res.CPU = &specs.LinuxCPU{Shares: new(uint64(min(max(cpu*sharesPerCore/1000, minShares), maxShares)))}
	if cpuLimit > 0 {
		res.CPU.Quota = new(max(cpuLimit*quotaPeriod/1000, minQuota))
		res.CPU.Period = new(uint64(quotaPeriod))
	}
	if memory := limits.Memory().Value(); memory > 0 {
		res.Memory = &specs.LinuxMemory{Limit: &memory}
		if h.swap {
			res.Memory.Swap = &memory // of memory and swap together: nothing is left for swap
		}
	}
	res.Pids = &specs.LinuxPids{Limit: new(int64(maxProcesses))}
	s.Process.OOMScoreAdj = new(max(h.oomScore(config), h.oomFloor))
	return nil
}

// oomScore is Kubernetes' oom_score_adj for a container, by its pod's class and its own share of the machine's memory.
func (h hostLimits) oomScore(config node.ContainerConfig) int {
	spec := config.Spec
	if spec == nil {
		spec = &corev1.PodSpec{Containers: []corev1.Container{config.Container}}
	}
	switch api.QOSClass(spec) {
	case corev1.PodQOSBestEffort:
		return oomBestEffort
	case corev1.PodQOSGuaranteed:
		return oomGuaranteed
	}
	memory := config.Container.Resources.Requests.Memory().Value()
	if memory == 0 {
		memory = config.Container.Resources.Limits.Memory().Value()
	}
	// A pod that asked for something is never as cheap as one that asked for nothing, and never as dear as a guaranteed one.
	return min(max(1000-int(1000*memory/max(h.memory, 1)), 1000+oomGuaranteed), oomBestEffort-1)
}
