package controller

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
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

// keepTemplates notes the templates of pods of earlier leaders that Git holds, before another commit takes their place.
func (s *state) keepTemplates() {
	for _, t := range s.wantedTemplates(func(d api.Digest) bool { return s.templates[d] == nil }) {
		s.templates[t.Digest] = t.Pod
	}
}

// provideTemplates has the templates of running pods stored again that Git holds and the store does not: it was lost, and
// after the next commit a leader could find them nowhere else. Nodes may turn up long after it was.
func (s *state) provideTemplates() {
	if !s.unprovided {
		return
	}
	s.unprovided = false
	for _, t := range s.wantedTemplates(func(d api.Digest) bool { return !s.has(d) }) {
		s.templates[t.Digest] = t.Pod
		for digest, data := range t.Blobs {
			if !s.has(digest) {
				s.blobs[digest] = data
			}
		}
	}
}

// wantedTemplates are those that Git holds and that are asked for, of pods and of what rollouts would go back to.
func (s *state) wantedTemplates(asked func(api.Digest) bool) []planner.Template {
	digests := map[api.Digest]bool{}
	for _, w := range s.workloads {
		if w.Stable != "" && asked(w.Stable) {
			digests[w.Stable] = true
		}
	}
	for _, n := range s.nodes {
		for _, p := range n.pods {
			if digest := p.placement.Template; asked(digest) {
				digests[digest] = true
			}
		}
	}
	if len(digests) == 0 {
		return nil
	}
	return planner.Templates(s.desired.objects, digests)
}

// readTemplates has a new leader know the templates that it did not make and Git does not hold any more. Without one a
// rollout that goes back, or is held, changes nothing.
func (s *state) readTemplates(ctx context.Context, bus Bus, log *slog.Logger) {
	for _, digest := range s.unwanted() {
		if s.templates[digest] != nil {
			continue
		}
		template, err := bus.Template(ctx, digest)
		if err == nil {
			err = s.checkContents(template)
		}
		if err != nil {
			log.Warn("a template that pods were made of is not known: no pod can be made of it again", "template", digest.Short(), "error", err)
			continue
		}
		s.templates[digest] = template
	}
}

// checkContents fails if a template that was read names contents that were lost.
func (s *state) checkContents(t *api.PodTemplate) error {
	for _, name := range slices.Sorted(maps.Keys(t.ConfigMaps)) {
		if d := t.ConfigMaps[name]; !s.has(d) {
			return fmt.Errorf("the store does not have what ConfigMap %s held: there is no blob %s", name, d.Short())
		}
	}
	return nil
}

// has reports whether the store has a blob that is in use.
func (s *state) has(d api.Digest) bool { return s.stored[d] || s.stock[d] }

// readReplaced reads, once, the templates that a leader finds to be unwanted only by its first plan: a commit came between the
// leader before and this one.
func (l *leader) readReplaced(ctx context.Context) {
	if s := l.state; s.planned && !s.replacedRead {
		s.replacedRead = true
		s.readTemplates(ctx, l.config.Bus, l.log)
	}
}
