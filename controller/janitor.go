package controller

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// pruneEvery is how often blobs are deleted that nobody uses any more.
const pruneEvery = time.Hour

// A BlobPruner is a bus that can delete blobs.
type BlobPruner interface {
	// PruneBlobs deletes the blobs that keep does not want, unless they were stored of late, and returns how many.
	PruneBlobs(ctx context.Context, keep func(api.Digest) bool) (int, error)
}

// A janitor deletes the blobs that nobody uses any more: every template that ever ran, every content of a config map and every
// sealed secret would stay else.
type janitor struct {
	bus Bus
	log *slog.Logger
	// used asks the leader's loop which blobs are in use. What is said not to be, the leader will store again before it uses it.
	used chan chan map[api.Digest]bool
	// configs are the config maps of templates that were in use.
	configs map[api.Digest][]api.Digest
}

func newJanitor(bus Bus, log *slog.Logger) *janitor {
	return &janitor{bus: bus, log: log, used: make(chan chan map[api.Digest]bool), configs: map[api.Digest][]api.Digest{}}
}

// run prunes now and then, until ctx is done. That it fails is no reason to stop: blobs in excess do no harm.
func (j *janitor) run(ctx context.Context, pruner BlobPruner) error {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		pruned, err := j.prune(ctx, pruner)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			j.log.Warn("blobs that nobody uses stay in the store; it is tried again", "error", err, "again in", pruneEvery)
		case pruned > 0:
			j.log.Info("deleted blobs that nobody uses any more", "blobs", pruned)
		}
	}
}

// prune deletes what neither the leader's own view of the fleet nor the store uses.
func (j *janitor) prune(ctx context.Context, pruner BlobPruner) (int, error) {
	reply := make(chan map[api.Digest]bool, 1)
	select {
	case j.used <- reply:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	used := <-reply
	if used == nil {
		return 0, nil // the leader has not planned yet, and so does not know what is wanted
	}
	found, err := j.bus.State(ctx)
	if err != nil {
		return 0, err
	}
	templates := map[api.Digest]bool{}
	markState(found, used, templates)
	if err := j.markConfigs(ctx, used, templates); err != nil {
		return 0, err
	}
	return pruner.PruneBlobs(ctx, func(d api.Digest) bool { return used[d] })
}

// markConfigs marks what the templates name. A template that cannot be read may name anything: then nothing is deleted.
func (j *janitor) markConfigs(ctx context.Context, used, templates map[api.Digest]bool) error {
	known := make(map[api.Digest][]api.Digest, len(templates))
	for _, digest := range slices.Sorted(maps.Keys(templates)) {
		configs, ok := j.configs[digest]
		if !ok {
			template, err := j.bus.Template(ctx, digest)
			if err != nil {
				return fmt.Errorf("template %s, which is in use: %w", digest.Short(), err)
			}
			configs = slices.Collect(maps.Values(template.ConfigMaps))
		}
		known[digest] = configs
		for _, d := range configs {
			used[d] = true
		}
	}
	j.configs = known
	return nil
}

// markState marks what the store uses, and of that the templates of pods.
func markState(found State, used, templates map[api.Digest]bool) {
	for _, a := range found.Assignments {
		markIngress(a.Ingress, used)
		for _, p := range a.Pods {
			markPlacement(p, used)
			templates[p.Template] = true
		}
	}
	if found.Report != nil {
		used[found.Report.Objects] = true
		markWorkloads(found.Report.Workloads, used)
	}
}

func markPlacement(p api.Placement, used map[api.Digest]bool) {
	used[p.Template], used[p.Sealed] = true, true
	if p.Pull != nil {
		used[p.Pull.Sealed] = true
	}
	for _, d := range p.Live.Blobs() {
		used[d] = true
	}
}

func markIngress(a *api.IngressAssignment, used map[api.Digest]bool) {
	if a == nil {
		return
	}
	used[a.Rules] = true
	for _, c := range a.Certificates {
		used[c.Sealed] = true
	}
}

func markWorkloads(workloads []api.WorkloadStatus, used map[api.Digest]bool) {
	for _, w := range workloads {
		used[w.Template], used[w.Stable] = true, true
		if w.Canary != nil {
			used[w.Canary.Serving] = true
		}
	}
}

// usedBlobs gives the blobs that the leader's view of the fleet uses, beside the config maps of templates that the store names;
// nil while it has not planned. All others it forgets to have stored: if it needs one again, it stores it again.
func (s *state) usedBlobs() map[api.Digest]bool {
	if !s.planned {
		return nil
	}
	used := map[api.Digest]bool{s.ingress.digest: true}
	markWorkloads(s.workloads, used)
	for _, n := range s.nodes {
		markIngress(n.written.Ingress, used)
		for _, p := range n.written.Pods {
			markPlacement(p, used)
		}
		for _, p := range n.pods {
			markPlacement(p.placement, used)
			for _, d := range p.needs {
				used[d] = true
			}
		}
	}
	for digest := range used {
		if t, ok := s.templates[digest]; ok {
			for _, d := range t.ConfigMaps {
				used[d] = true
			}
		}
	}
	unused := func(d api.Digest) bool { return !used[d] }
	maps.DeleteFunc(s.stored, func(d api.Digest, _ bool) bool { return unused(d) })
	maps.DeleteFunc(s.sealed, func(_ sealedKey, d api.Digest) bool { return unused(d) })
	maps.DeleteFunc(s.live, func(_ liveKey, d api.Digest) bool { return unused(d) })
	maps.DeleteFunc(s.pulls.sealed, func(_ pullKey, d api.Digest) bool { return unused(d) })
	maps.DeleteFunc(s.ingress.sealed, func(_ sealedCertificate, d api.Digest) bool { return unused(d) })
	return used
}
