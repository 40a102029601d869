package fakehost

import (
	"context"

	"headway.dev/headway/node"
)

var (
	_ node.VolumeMeter  = volumes{}
	_ node.StorageMeter = runtime{}
)

// SetUsage says how many bytes there are in an emptyDir of a pod, by the volume's name, or in a container, by its name.
func (h *Host) SetUsage(uid, name string, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.usage[[2]string{uid, name}] = bytes
}

func (v volumes) VolumeUsage(_ context.Context, uid string) (map[string]int64, error) {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	usage := map[string]int64{}
	for _, name := range v.h.volumes[uid] {
		usage[name] = v.h.usage[[2]string{uid, name}]
	}
	return usage, nil
}

func (r runtime) ContainerUsage(_ context.Context, id string) (int64, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	c := r.h.containers[id]
	if c == nil {
		return 0, nil
	}
	return r.h.usage[[2]string{c.PodUID, c.Name}], nil
}
