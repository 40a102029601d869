package containerd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
)

// securityOf are the security contexts of a container and its pod; neither is nil.
func securityOf(config node.ContainerConfig) (own *corev1.SecurityContext, pod *corev1.PodSecurityContext) {
	own, pod = config.Container.SecurityContext, nil
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	if config.Spec != nil {
		pod = config.Spec.SecurityContext
	}
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	return own, pod
}

// either is the container's value, or else the pod's.
func either[T any](own, pod *T) *T {
	if own != nil {
		return own
	}
	return pod
}

func isTrue(b *bool) bool { return b != nil && *b }

// withSecurity applies the security contexts, but for the user.
func (r *Runtime) withSecurity(i *image, pod *corev1.PodSecurityContext, c *corev1.SecurityContext) oci.SpecOpts {
	return func(ctx context.Context, cl oci.Client, record *containers.Container, s *specs.Spec) error {
		s.Process.NoNewPrivileges = c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation
		if c.ProcMount != nil && *c.ProcMount == corev1.UnmaskedProcMount {
			s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		}
		if isTrue(c.Privileged) {
			return oci.Compose(oci.WithPrivileged, oci.WithHostDevices, oci.WithAllDevicesAllowed)(ctx, cl, record, s)
		}
		caps, err := capabilities(s.Process.Capabilities.Bounding, c.Capabilities)
		if err != nil {
			return err
		}
		if err := oci.WithCapabilities(caps)(ctx, cl, record, s); err != nil {
			return err
		}
		if err := r.setSeccomp(s, i.architecture, either(c.SeccompProfile, pod.SeccompProfile)); err != nil {
			return err
		}
		return r.setAppArmor(s, either(c.AppArmorProfile, pod.AppArmorProfile))
	}
}

// capabilities applies additions and then removals to the default ones, as Kubernetes does: ALL first, then single ones.
func capabilities(base []string, change *corev1.Capabilities) ([]string, error) {
	if change == nil {
		return base, nil
	}
	granted, err := cap.Current()
	if err != nil {
		return nil, err
	}
	add, drop := names(change.Add), names(change.Drop)
	set := map[string]bool{}
	switch {
	case add["ALL"]:
		addAll(set, granted)
	case !drop["ALL"]:
		addAll(set, base)
	}
	delete(add, "ALL")
	delete(drop, "ALL")
	for c := range add {
		if !slices.Contains(granted, c) {
			return nil, fmt.Errorf("capability %s: this machine's root has none to give, or there is none of that name", c)
		}
		set[c] = true
	}
	for c := range drop {
		delete(set, c)
	}
	return slices.Sorted(maps.Keys(set)), nil
}

func addAll(set map[string]bool, all []string) {
	for _, c := range all {
		set[c] = true
	}
}

// names gives capabilities as the kernel calls them, from any case, with CAP_ before them or not.
func names(list []corev1.Capability) map[string]bool {
	set := map[string]bool{}
	for _, c := range list {
		name := strings.ToUpper(string(c))
		if name != "ALL" && !strings.HasPrefix(name, "CAP_") {
			name = "CAP_" + name
		}
		if name == "CAP_ALL" {
			name = "ALL"
		}
		set[name] = true
	}
	return set
}
