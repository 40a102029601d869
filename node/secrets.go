package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// content is what the pod is made from: its template, and what that needs.
func (p *pod) content(t *api.PodTemplate) []api.Digest {
	all := slices.AppendSeq([]api.Digest{p.record.Placement.Template}, maps.Values(t.ConfigMaps))
	if sealed := p.record.Placement.Sealed; sealed != "" {
		all = append(all, sealed)
	}
	if pull := p.record.Placement.Pull; pull != nil && pull.Sealed != "" {
		all = append(all, pull.Sealed)
	}
	return append(all, p.record.Placement.Live.Blobs()...)
}

// fetchSealed has the pod's secrets on disk, sealed as they are, so that it can start again without the bus.
func (p *pod) fetchSealed(ctx context.Context, t *api.PodTemplate) error {
	switch sealed := p.record.Placement.Sealed; {
	case len(t.Secrets) == 0:
		return nil
	case sealed == "":
		return errors.New("the pod uses secrets, and the controller has sealed none for it")
	default:
		if _, err := p.host.blobs.get(ctx, sealed); err != nil {
			return fmt.Errorf("secrets (%s): %w", sealed.Short(), err)
		}
		return nil
	}
}

// openSecrets opens the pod's secrets, by name, with those that change in place. What it gives is kept nowhere: it is asked each
// time that a volume or a container is made.
func (p *pod) openSecrets(ctx context.Context, live *api.LiveConfig) (map[string]api.SecretData, error) {
	if len(p.template.Secrets) == 0 {
		return p.openLive(ctx, live, nil)
	}
	all, err := p.host.openSealed(ctx, p.record.Placement.Sealed)
	if err != nil {
		return nil, err
	}
	return p.openLive(ctx, live, all)
}

// openSealed opens secrets that are sealed to the node, by name.
func (a *Agent) openSealed(ctx context.Context, digest api.Digest) (map[string]api.SecretData, error) {
	opener := a.config.Secrets
	if opener == nil {
		return nil, errors.New("the pod uses secrets, and this node has no key to open them with")
	}
	sealed, err := a.blobs.get(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("secrets (%s): %w", digest.Short(), err)
	}
	plain, err := opener.Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("open secrets (%s): %w", digest.Short(), err)
	}
	var contents api.SecretContents
	if json.Unmarshal(plain, &contents) != nil { // whose error could show some of it
		return nil, fmt.Errorf("open secrets (%s): they are not in a form that this version knows", digest.Short())
	}
	all := make(map[string]api.SecretData, len(contents))
	for name, data := range contents {
		all[name] = api.NewSecretData(data)
	}
	return all, nil
}

// takePlacement takes up a newer placement. What a pod's secrets hold never changes, but a new controller seals it anew: what is
// on disk already will do, unless it was sealed to a key that the node has no more.
func (p *pod) takePlacement(next api.Placement) {
	last := p.record.Placement
	rekeyed := last.Recipient != next.Recipient
	if p.template != nil && last.Sealed != "" && last.Template == next.Template && !rekeyed {
		next.Sealed = last.Sealed
	}
	next.Live = p.takeLive(next.Live, rekeyed)
	if next.Pull.Same(last.Pull) && !rekeyed {
		next.Pull = last.Pull
	}
	p.record.Placement, p.commit, p.dirty = next, next.Commit, true
	if !next.Pull.Same(last.Pull) || rekeyed {
		p.pullAnew()
	}
	p.rekeyed = p.rekeyed || rekeyed && p.template != nil
}

// dueUnseal finds a pod whose secrets have been sealed to another key.
func (p *pod) dueUnseal(time.Time) []target { return itself(p.rekeyed) }

// unseal has on disk what was sealed to the node's new key, for when a volume or a container is made again. What could not be
// made for want of it is tried again at once; what runs is left alone.
func (p *pod) unseal(ctx context.Context, _ target) error {
	ctx, cancel := p.untilHalt(ctx)
	defer cancel()
	live := p.record.Placement.Live
	if p.nextLive != nil {
		live = p.nextLive
	}
	p.uses(append(p.content(p.template), live.Blobs()...))
	if err := errors.Join(p.fetchSealed(ctx, p.template), p.fetchLive(ctx, live)); err != nil {
		return err
	}
	p.fetchPull(ctx)
	p.rekeyed = false
	for _, f := range p.failures {
		f.until = time.Time{}
	}
	p.host.spend()
	return nil
}
