package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
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

// A storageUse is what a pod has written to the machine's disk, in bytes.
type storageUse struct {
	volumes    map[string]int64 // of each emptyDir on disk
	containers map[string]int64 // of each container that is not done: its own files and its log
}

// overuse says why a pod is to be evicted for what it has written; empty if it keeps to its limits.
func overuse(spec *corev1.PodSpec, use storageUse) string {
	total := resource.Quantity{}
	for _, name := range slices.Sorted(maps.Keys(use.volumes)) {
		used := *resource.NewQuantity(use.volumes[name], resource.BinarySI)
		total.Add(used)
		for _, v := range spec.Volumes {
			if v.Name != name || v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.IsZero() {
				continue
			}
			if used.Cmp(*v.EmptyDir.SizeLimit) > 0 {
				return fmt.Sprintf("emptyDir volume %s holds %s, more than its sizeLimit %s", name, &used, v.EmptyDir.SizeLimit)
			}
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		used := *resource.NewQuantity(use.containers[c.Name], resource.BinarySI)
		total.Add(used)
		limit, has := c.Resources.Limits[corev1.ResourceEphemeralStorage]
		if has && used.Cmp(limit) > 0 {
			return fmt.Sprintf("container %s has written %s, more than its limit of ephemeral-storage %s", c.Name, &used, &limit)
		}
	}
	if limit, limited := storageLimit(spec); limited && total.Cmp(limit) > 0 {
		return fmt.Sprintf("the pod has written %s, more than the %s of ephemeral-storage that its containers may use", &total, &limit)
	}
	return ""
}

// storageLimit is how much the containers that run at the same time may write together, at most: all but init containers in the end,
// and before that each of those with the sidecars that started before it. Without a limit on every one there is none.
func storageLimit(spec *corev1.PodSpec) (most resource.Quantity, limited bool) {
	var together resource.Quantity
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		if _, has := c.Resources.Limits[corev1.ResourceEphemeralStorage]; !has {
			return resource.Quantity{}, false
		}
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		with := together.DeepCopy()
		with.Add(c.Resources.Limits[corev1.ResourceEphemeralStorage])
		if isSidecar(c) {
			together = with
		}
		if with.Cmp(most) > 0 {
			most = with
		}
	}
	for _, c := range spec.Containers {
		together.Add(c.Resources.Limits[corev1.ResourceEphemeralStorage])
	}
	if together.Cmp(most) > 0 {
		most = together
	}
	return most, true
}

// evictionReason is Kubernetes' word for a pod that is ended because it took more than its share.
const evictionReason = "Evicted"

// An eviction is why a pod is to end for good; the zero value is no eviction.
type eviction struct {
	why string
	// atOnce is set when the machine cannot wait for as long as the pod may ask it to.
	atOnce bool
}

// evict ends a pod that took more than its share, for good. It is for others than the pod's goroutine.
func (p *pod) evict(e eviction) { p.deliver(func(in *inbox) { in.evict = e }) }

// evicted notes that the pod is evicted, unless it ends anyway.
func (p *pod) evicted(e eviction, now time.Time) {
	if e.why == "" || p.isClosing() {
		return
	}
	p.finish(outcome{Phase: api.PodFailed, Reason: evictionReason, Message: e.why, Since: now, AtOnce: e.atOnce})
	p.event(evictionReason, e.why, warning)
}

// storageEvery is how often what pods have written is measured, as often as Kubernetes does it.
const storageEvery = 10 * time.Second

// watchStorage evicts pods that write more than they may, until ctx is done.
func (a *Agent) watchStorage(ctx context.Context) {
	for pause(ctx, storageEvery) {
		for _, p := range a.writing() {
			why, err := a.overuseOf(ctx, p)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				p.log.Warn("what the pod has written cannot be measured", "error", err)
			case why != "":
				p.evict(eviction{why: why})
			}
		}
	}
}

// writing are the pods whose containers may write.
func (a *Agent) writing() []*pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*pod
	for _, uid := range slices.Sorted(maps.Keys(a.pods)) {
		p := a.pods[uid]
		p.mu.Lock()
		phase := p.status.Phase
		p.mu.Unlock()
		if phase == api.PodPending || phase == api.PodRunning {
			all = append(all, p)
		}
	}
	return all
}

// overuseOf measures a pod, if it has limits, and says why it is to be evicted; empty if it is not.
func (a *Agent) overuseOf(ctx context.Context, p *pod) (string, error) {
	p.mu.Lock()
	status := p.status
	p.mu.Unlock()
	t := a.blobs.known(status.Placement.Template)
	if t == nil || !limitsStorage(&t.Spec) {
		return "", nil
	}
	use := storageUse{containers: map[string]int64{}}
	var err error
	if meter, ok := a.config.Volumes.(VolumeMeter); ok {
		if use.volumes, err = meter.VolumeUsage(ctx, p.uid); err != nil {
			return "", err
		}
	}
	for _, c := range slices.Concat(status.InitContainers, status.Containers) {
		if c.State == stateTerminated && c.Ready {
			continue // an init container that is done: what it wrote goes soon
		}
		if use.containers[c.Name], err = a.containerUse(ctx, p.uid, c); err != nil {
			return "", err
		}
	}
	return overuse(&t.Spec, use), nil
}

// containerUse is what a container has written: its own files and its logs.
func (a *Agent) containerUse(ctx context.Context, uid string, c api.ContainerStatus) (int64, error) {
	own, err := a.ownFiles(ctx, c)
	if err != nil {
		return 0, err
	}
	logs, err := a.logFiles(uid, c)
	return own + logs, err
}

// ownFiles is what a container has written beside its volumes.
func (a *Agent) ownFiles(ctx context.Context, c api.ContainerStatus) (int64, error) {
	meter, ok := a.config.Runtime.(StorageMeter)
	if !ok || c.ID == "" {
		return 0, nil
	}
	return meter.ContainerUsage(ctx, c.ID)
}

// logFiles is what is kept of a container's logs.
func (a *Agent) logFiles(uid string, c api.ContainerStatus) (int64, error) {
	files, err := a.disk.runFiles(uid, c.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	var total int64
	for _, f := range files {
		if f.kind != runLog || f.beside {
			continue // what the node notes of a log is not the container's doing
		}
		info, err := f.Info()
		if err != nil {
			continue // trimmed meanwhile
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512 // the kernel counts in such blocks; logs have holes
		}
	}
	return total, nil
}

// limitsStorage says whether there is anything to measure a pod by.
func limitsStorage(spec *corev1.PodSpec) bool {
	for _, v := range spec.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil && !v.EmptyDir.SizeLimit.IsZero() {
			return true
		}
	}
	return slices.ContainsFunc(slices.Concat(spec.InitContainers, spec.Containers), func(c corev1.Container) bool {
		_, limited := c.Resources.Limits[corev1.ResourceEphemeralStorage]
		return limited
	})
}
