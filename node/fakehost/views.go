package fakehost

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// Network is the machine's node.Network.
func (h *Host) Network() node.Network { return network{h} }

type network struct{ h *Host }

func (n network) Attach(ctx context.Context, uid, _ string) (node.Sandbox, error) {
	var s node.Sandbox
	err := n.h.call(ctx, "Attach", uid, func() error {
		var found bool
		if s, found = n.h.sandboxes[uid]; found {
			return nil
		}
		s = node.Sandbox{UID: uid, IP: n.h.address(), NetNS: "/ns/" + uid + "/net", IPCNS: "/ns/" + uid + "/ipc", UTSNS: "/ns/" + uid + "/uts"}
		n.h.sandboxes[uid] = s
		return nil
	})
	return s, err
}

// address takes one that was freed, or the next.
func (h *Host) address() netip.Addr {
	if len(h.freed) > 0 {
		ip := h.freed[0]
		h.freed = h.freed[1:]
		return ip
	}
	ip := h.nextIP
	h.nextIP = ip.Next()
	return ip
}

func (n network) Detach(ctx context.Context, uid string) error {
	return n.h.call(ctx, "Detach", uid, func() error {
		for _, c := range n.h.containers {
			if c.PodUID == uid && c.State == node.ContainerRunning {
				return errors.New("sandbox " + uid + " is in use by " + c.ID)
			}
		}
		if s, found := n.h.sandboxes[uid]; found {
			n.h.freed = append(n.h.freed, s.IP)
		}
		delete(n.h.sandboxes, uid)
		return nil
	})
}

func (n network) Sandboxes(ctx context.Context) ([]node.Sandbox, error) {
	var all []node.Sandbox
	err := n.h.call(ctx, "Sandboxes", "", func() error {
		for _, s := range n.h.sandboxes {
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

func (n network) SetPeers(ctx context.Context, peers []api.NodeInfo) error {
	return n.h.call(ctx, "SetPeers", "", func() error {
		n.h.peers = nil
		for _, p := range peers {
			n.h.peers = append(n.h.peers, p.Name+" "+p.PodCIDR)
		}
		return nil
	})
}

// Router is the machine's node.Router.
func (h *Host) Router() node.Router { return router{h} }

type router struct{ h *Host }

func (r router) Apply(ctx context.Context, table api.RouteTable) error {
	return r.h.call(ctx, "Apply", "", func() error {
		r.h.table = table
		return nil
	})
}

// Isolate makes the host a node.Isolator.
func (r router) Isolate(ctx context.Context, pods []node.IsolatedPod) error {
	return r.h.call(ctx, "Isolate", "", func() error {
		r.h.isolated = pods
		return nil
	})
}

// Images is the machine's node.Images.
func (h *Host) Images() node.Images { return images{h} }

// SetImage says why an image cannot be had; an empty reason has it there again.
func (h *Host) SetImage(image, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.missing[image] = reason
}

type images struct{ h *Host }

func (i images) Ensure(ctx context.Context, image string, _ corev1.PullPolicy) (string, error) {
	err := i.h.call(ctx, "Ensure", image, func() error {
		if reason := i.h.missing[image]; reason != "" {
			return &node.ImageError{Image: image, Reason: reason, Err: errors.New("not in the registry")}
		}
		i.h.pulls[image]++
		i.h.store(image)
		return nil
	})
	return "sha256:" + image, err
}

// Volumes is the machine's node.Volumes.
func (h *Host) Volumes() node.Volumes { return volumes{h} }

type volumes struct{ h *Host }

func (v volumes) Prepare(ctx context.Context, config node.VolumeConfig) (map[string]string, error) {
	uid, template, paths := config.UID, config.Template, map[string]string{}
	err := v.h.call(ctx, "Prepare", uid, func() error {
		var names []string
		for _, volume := range template.Spec.Volumes {
			names = append(names, volume.Name)
			paths[volume.Name] = filepath.Join("/volumes", uid, volume.Name)
		}
		if len(names) > 0 {
			v.h.volumes[uid] = names
		}
		if _, there := v.h.files[uid]; !there && template.ChangesInPlace() {
			v.h.files[uid] = filesOf(config)
		}
		return nil
	})
	return paths, err
}

func (v volumes) Remove(ctx context.Context, uid string) error {
	return v.h.call(ctx, "RemoveVolumes", uid, func() error {
		for _, c := range v.h.containers {
			if c.PodUID == uid {
				return errors.New("the volumes of " + uid + " are in use by " + c.ID)
			}
		}
		delete(v.h.volumes, uid)
		delete(v.h.files, uid)
		return nil
	})
}

func (v volumes) Pods(ctx context.Context) ([]string, error) {
	var uids []string
	err := v.h.call(ctx, "Pods", "", func() error {
		for uid := range v.h.volumes {
			uids = append(uids, uid)
		}
		slices.Sort(uids)
		return nil
	})
	return uids, err
}

// A ProbeFunc answers network probes.
type ProbeFunc func(handler corev1.ProbeHandler, ip netip.Addr) error

// SetProbe has f answer the probes from now on; nil has all of them succeed.
func (h *Host) SetProbe(f ProbeFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probe = f
}

// Prober is the machine's node.Prober.
func (h *Host) Prober() node.Prober { return prober{h} }

type prober struct{ h *Host }

func (p prober) Probe(ctx context.Context, handler corev1.ProbeHandler, ip netip.Addr, _ []corev1.ContainerPort) error {
	p.h.mu.Lock()
	probe := p.h.probe
	p.h.mu.Unlock()
	if err := ctx.Err(); err != nil || probe == nil {
		return err
	}
	return probe(handler, ip)
}

// appendTo writes output where a shim would.
func appendTo(path string, output []byte) error {
	if path == "" || len(output) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(output); err != nil {
		return err
	}
	now := time.Now() // of the test, not of the kernel
	return os.Chtimes(path, now, now)
}
