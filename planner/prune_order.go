package planner

import (
	"slices"

	"headway.dev/headway/api"
)

// putInOrder has what is deleted wait for what depends on it: the pods of that go first. The pods themselves tell, for who
// made them may be known no more. One that is lost is not waited for: nobody knows when its node returns.
func (p *pruning) putInOrder(git *declared, seen *observed) {
	if len(p.deletions) == 0 {
		return
	}
	held := map[api.Ref]bool{}
	for i := range p.deletions {
		if d := &p.deletions[i]; d.Held != "" {
			held[d.Ref] = true
		}
	}
	needs := map[api.Ref][]api.Ref{} // of what goes and has pods
	for _, g := range seen.sorted {
		if !g.traits.dependent || git.desires(g.owner) || held[g.owner] {
			continue
		}
		if cron, _, isRun := cronOf(g.owner); isRun && held[cron] {
			continue
		}
		for _, pod := range g.pods {
			if len(pod.DependsOn) > 0 && !pod.Lost {
				needs[g.owner] = unique(append(needs[g.owner], pod.DependsOn...))
			}
		}
	}
	for i := range p.deletions {
		d := &p.deletions[i]
		if d.Held != "" {
			continue
		}
		for owner, refs := range needs {
			// Pods of several commits may have come to depend on each other: then there is no order to keep.
			if slices.Contains(refs, d.Ref) && !leadsTo(needs, d.Ref, owner) {
				d.After = append(d.After, owner)
			}
		}
		slices.SortFunc(d.After, api.Ref.Compare)
	}
}

// leadsTo reports whether there is a way from one ref to another, or both are the same.
func leadsTo(needs map[api.Ref][]api.Ref, from, to api.Ref) bool {
	seen := map[api.Ref]bool{from: true}
	for next := []api.Ref{from}; len(next) > 0; next = next[1:] {
		if next[0] == to {
			return true
		}
		for _, need := range needs[next[0]] {
			if !seen[need] {
				seen[need] = true
				next = append(next, need)
			}
		}
	}
	return false
}
