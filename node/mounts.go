package node

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// containerMounts gives the container's volumes, the pod's files, and the memory that its containers share. References in
// a subPathExpr are to the container's environment.
func (p *pod) containerMounts(ctx context.Context, c *corev1.Container, env *environment) ([]Mount, error) {
	var mounts []Mount
	taken := map[string]bool{}
	for i := range c.VolumeMounts {
		m, err := p.volumeMount(ctx, c, i, env)
		if err != nil {
			return nil, fmt.Errorf("volumeMount %s: %w", c.VolumeMounts[i].MountPath, err)
		}
		mounts = append(mounts, m)
		taken[m.Target] = true
	}
	for _, file := range []string{hostsFile, hostnameFile, resolvFile} {
		if target := "/etc/" + file; !taken[target] && !taken["/etc"] {
			mounts = append(mounts, Mount{Source: filepath.Join(p.host.disk.etcDir(p.uid), file), Target: target})
		}
	}
	shared := p.mounts[SharedMemory]
	if p.template.Spec.HostIPC {
		shared = SharedMemory
	}
	if shared != "" && !taken[SharedMemory] {
		mounts = append(mounts, Mount{Source: shared, Target: SharedMemory})
	}
	return mounts, nil
}

// volumeMount gives one mount of a volume.
func (p *pod) volumeMount(ctx context.Context, c *corev1.Container, number int, env *environment) (Mount, error) {
	m := c.VolumeMounts[number]
	source, found := p.mounts[m.Name]
	i := slices.IndexFunc(p.template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
	if !found || i < 0 {
		return Mount{}, fmt.Errorf("the pod has no volume %s", m.Name)
	}
	written := isWritten(p.template.Spec.Volumes[i])
	mount := Mount{Source: source, Target: filepath.Clean(m.MountPath), ReadOnly: m.ReadOnly || written}
	if m.RecursiveReadOnly != nil {
		mount.Recursive = *m.RecursiveReadOnly
	}
	if m.MountPropagation != nil {
		mount.Propagation = *m.MountPropagation
	}
	passes := mount.Propagation != "" && mount.Propagation != corev1.MountPropagationNone
	if mount.Recursive != "" && mount.Recursive != corev1.RecursiveReadOnlyDisabled && (!m.ReadOnly || passes) {
		return Mount{}, fmt.Errorf("recursiveReadOnly is %s, which needs readOnly, and no mountPropagation", mount.Recursive)
	}
	if mount.Propagation == corev1.MountPropagationBidirectional && !isPrivileged(c) {
		return Mount{}, errors.New("mountPropagation is Bidirectional, which needs a privileged container")
	}
	part, err := subPath(m, env)
	if err != nil || part == "" {
		return mount, err
	}
	parts, ok := p.host.config.Volumes.(SubPather)
	if !ok {
		return Mount{}, errors.New("this node cannot mount a part of a volume: remove subPath")
	}
	mount.Source, err = parts.SubPath(ctx, SubPath{
		UID: p.uid, Volume: m.Name, Source: source, Path: part, Container: c.Name, Mount: number, ReadOnly: written,
	})
	return mount, err
}

func isPrivileged(c *corev1.Container) bool {
	return c.SecurityContext != nil && isSet(c.SecurityContext.Privileged)
}

// isWritten tells the volumes whose files the node writes, and pods only read.
func isWritten(v corev1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil ||
		v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly
}

// subPath is the part of the volume to mount; empty is all of it.
func subPath(m corev1.VolumeMount, env *environment) (string, error) {
	part := m.SubPath
	if m.SubPathExpr != "" {
		var missing []string
		if part, missing = env.expandStrictly(m.SubPathExpr); len(missing) > 0 {
			return "", fmt.Errorf("subPathExpr %q refers to %s, which is not set", m.SubPathExpr, strings.Join(missing, ", "))
		}
	}
	if path.IsAbs(part) || slices.Contains(strings.Split(part, "/"), "..") {
		return "", fmt.Errorf("the part %q of the volume must be a relative path without '..'", part)
	}
	if part = path.Clean(part); part == "." {
		return "", nil
	}
	return part, nil
}
