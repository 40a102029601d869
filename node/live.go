package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// takeLive takes up what changes in place of a newer placement: at once as long as nothing has been made of it, else with the
// files. It gives what the pod has until then.
// With another key, what is on disk cannot be opened any more.
func (p *pod) takeLive(next *api.LiveConfig, rekeyed bool) *api.LiveConfig {
	last := p.record.Placement.Live
	switch {
	case p.template == nil:
		return next
	case next.Same(last):
		p.nextLive = nil
		if rekeyed {
			return next
		}
		return last // a new controller seals secrets anew: what is on disk already will do
	}
	if rekeyed || !next.Same(p.nextLive) {
		p.nextLive = next
		delete(p.failures, failing{step: stepUpdate})
	}
	return last
}

// dueUpdate finds a pod whose files are to change, or may be older than they should: an agent that ended in between, or
// volumes of which only some were made, leave such behind.
func (p *pod) dueUpdate(time.Time) []target {
	return itself(p.nextLive != nil || p.record.Placement.Live != nil && p.mounts != nil && !p.updated)
}

// update brings the files that change in place to what the placement says. Until that is done the pod is one of the content
// of before: for its status, and for what it is made from after a restart.
func (p *pod) update(ctx context.Context, _ target) error {
	ctx, cancel := p.untilHalt(ctx)
	defer cancel()
	live := p.record.Placement.Live
	if p.nextLive != nil {
		live = p.nextLive
	}
	p.uses(append(p.content(p.template), live.Blobs()...))
	configs, err := p.host.blobs.configs(ctx, configMaps(p.template, live))
	if err != nil {
		return err
	}
	if p.mounts != nil {
		if err := p.rewrite(ctx, live, configs); err != nil {
			return err
		}
	} else if err := p.fetchLive(ctx, live); err != nil {
		return err
	}
	p.configs, p.updated = configs, p.mounts != nil
	if p.nextLive != nil {
		p.record.Placement.Live, p.nextLive, p.dirty = live, nil, true
		p.event("Updated", "files of config maps and secrets have changed in place", normal)
	}
	p.host.spend()
	p.uses(p.content(p.template))
	return nil
}

// rewrite writes the files.
func (p *pod) rewrite(ctx context.Context, live *api.LiveConfig, configs map[string]api.ConfigData) error {
	updater, ok := p.host.config.Volumes.(VolumeUpdater)
	if !ok {
		return fmt.Errorf("this node cannot change files in place: remove the annotation %s", api.ConfigAnnotation)
	}
	config, err := p.volumeConfigOf(ctx, live, configs)
	if err != nil {
		return err
	}
	return updater.Update(ctx, config)
}

// fetchLive has the secrets that change in place on disk, sealed as they are.
func (p *pod) fetchLive(ctx context.Context, live *api.LiveConfig) error {
	if live == nil || live.Sealed == "" {
		return nil
	}
	if _, err := p.host.blobs.get(ctx, live.Sealed); err != nil {
		return fmt.Errorf("secrets (%s): %w", live.Sealed.Short(), err)
	}
	return nil
}

// configMaps are the blobs of the config maps that a pod has, by name.
func configMaps(t *api.PodTemplate, live *api.LiveConfig) map[string]api.Digest {
	if live == nil {
		return t.ConfigMaps
	}
	all := make(map[string]api.Digest, len(t.ConfigMaps)+len(live.ConfigMaps))
	maps.Copy(all, t.ConfigMaps)
	for name, c := range live.ConfigMaps {
		if c.Digest != "" {
			all[name] = c.Digest
		}
	}
	return all
}

// holdsSecrets reports whether there is any secret among what changes in place.
func holdsSecrets(live *api.LiveConfig) bool {
	return live != nil && slices.ContainsFunc(slices.Collect(maps.Values(live.Secrets)), func(c api.LiveContent) bool {
		return c.Digest != ""
	})
}

// openLive adds the secrets that change in place, opened.
func (p *pod) openLive(ctx context.Context, live *api.LiveConfig, all map[string]api.SecretData) (map[string]api.SecretData, error) {
	if !holdsSecrets(live) {
		return all, nil
	}
	if live.Sealed == "" {
		return nil, errors.New("the pod uses secrets, and the controller has sealed none for it")
	}
	opened, err := p.host.openSealed(ctx, live.Sealed)
	if err != nil {
		return nil, err
	}
	maps.Copy(opened, all)
	return opened, nil
}
