package node

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// surroundings are what a container's environment, and the files of a downward API volume, can refer to.
type surroundings struct {
	placement   api.Placement
	template    *api.PodTemplate
	configs     map[string]api.ConfigData
	secrets     map[string]api.SecretData
	routes      api.RouteTable
	hostname    string
	node        string
	hostIP      string
	podIP       netip.Addr
	allocatable corev1.ResourceList // of the node: what a container without a limit can use
}

// surroundings gathers what is known of the pod. The secrets are opened for this once.
func (p *pod) surroundings(ctx context.Context) (surroundings, error) {
	return p.surroundingsOf(ctx, p.record.Placement.Live, p.configs)
}

// surroundingsOf are those with other content than the pod has so far.
func (p *pod) surroundingsOf(ctx context.Context, live *api.LiveConfig, configs map[string]api.ConfigData) (surroundings, error) {
	secrets, err := p.openSecrets(ctx, live)
	if err != nil {
		return surroundings{}, err
	}
	s := surroundings{
		placement: p.record.Placement, template: p.template, configs: configs, secrets: secrets,
		hostname: p.hostname(), node: p.host.config.Info.Name, hostIP: p.host.config.HostIP,
		allocatable: p.host.allocatable(),
	}
	if p.sandbox != nil {
		s.podIP = p.sandbox.IP
	}
	if table := p.host.table.Load(); table != nil {
		s.routes = *table
	}
	return s, nil
}

// labels are the pod's own and its template's.
func (s surroundings) labels() map[string]string {
	return joined(s.template.Labels, s.placement.Labels)
}

func (s surroundings) annotations() map[string]string {
	return joined(s.template.Annotations, s.placement.Annotations)
}

// joined has all of both; what both have is the second's.
func joined(a, b map[string]string) map[string]string {
	all := make(map[string]string, len(a)+len(b))
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// volumeConfig puts together what the pod's volumes are made from.
func (p *pod) volumeConfig(ctx context.Context) (VolumeConfig, error) {
	return p.volumeConfigOf(ctx, p.record.Placement.Live, p.configs)
}

func (p *pod) volumeConfigOf(ctx context.Context, live *api.LiveConfig, configs map[string]api.ConfigData) (VolumeConfig, error) {
	s, err := p.surroundingsOf(ctx, live, configs)
	if err != nil {
		return VolumeConfig{}, err
	}
	claims, err := p.claims()
	if err != nil {
		return VolumeConfig{}, err
	}
	return VolumeConfig{
		UID: p.uid, Template: p.template, Configs: configs, Secrets: s.secrets, Claims: claims, Volumes: p.record.Placement.Volumes, Downward: s.file,
	}, nil
}

// claims are the directories of the claims that the pod uses, by the volume. Those that are bound to declared volumes are only
// noted.
func (p *pod) claims() (map[string]string, error) {
	dirs := map[string]string{}
	for volume, ref := range claimsOf(p.template, p.record.Placement) {
		var err error
		if bound, ok := p.record.Placement.Volumes[volume]; ok {
			err = p.host.claims.bind(ref, bound.Volume, p.uid, time.Now())
		} else {
			dirs[volume], err = p.host.claims.hold(ref, p.uid, time.Now())
		}
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", volume, err)
		}
		p.host.status.set()
	}
	return dirs, nil
}

// containerConfig puts together what the runtime needs.
func (p *pod) containerConfig(ctx context.Context, c *container, attempt int) (ContainerConfig, error) {
	surroundings, err := p.surroundings(ctx)
	if err != nil {
		return ContainerConfig{}, err
	}
	env, err := surroundings.env(c.spec)
	if err != nil {
		return ContainerConfig{}, err
	}
	if len(env.skipped) > 0 && attempt == 0 {
		p.event("InvalidEnvironmentVariableNames", "container "+c.spec.Name+" does without "+strings.Join(env.skipped, "; "), warning)
	}
	mounts, err := p.containerMounts(ctx, c.spec, env)
	if err != nil {
		return ContainerConfig{}, err
	}
	spec := *c.spec
	spec.Command, spec.Args = env.expandAll(spec.Command), env.expandAll(spec.Args)
	return ContainerConfig{
		Pod: p.record.Placement.PodIdentity, Attempt: attempt, Container: spec, Spec: &p.template.Spec,
		Sandbox: *p.sandbox, Env: env.list(), Confidential: env.confidential, Mounts: mounts,
		LogPath: p.host.disk.logPath(p.uid, c.spec.Name, attempt),
	}, nil
}
