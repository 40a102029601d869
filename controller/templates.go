package controller

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"headway.dev/headway/api"
)

// unwanted are the templates that Git does not hold, as far as a plan may need to make pods of them: those that rollouts
// would go back to, and those of pods that stay while a rollout is held or on its way. They are ordered.
func (s *state) unwanted() []api.Digest {
	needed := map[api.Digest]bool{}
	wanted := make(map[api.Ref]api.Digest, len(s.workloads))
	for _, w := range s.workloads {
		wanted[w.Ref] = w.Template
		if w.Stable != "" && w.Stable != w.Template {
			needed[w.Stable] = true
		}
	}
	for _, n := range s.nodes {
		for _, p := range n.pods {
			if w, known := wanted[p.placement.Owner]; known && w != p.placement.Template {
				needed[p.placement.Template] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(needed))
}

// readTemplates has a new leader know the templates that it did not make and Git does not hold any more. Without one a
// rollout that goes back, or is held, changes nothing.
func (s *state) readTemplates(ctx context.Context, bus Bus, log *slog.Logger) {
	for _, digest := range s.unwanted() {
		template, err := bus.Template(ctx, digest)
		if err != nil {
			log.Warn("a template that pods were made of is not known: no pod can be made of it again", "template", digest.Short(), "error", err)
			continue
		}
		s.templates[digest] = template
	}
}
