package iptables

import (
	"context"
	"fmt"
	"slices"
)

// Drift names the chains, and the built-in chains with jumps of ours, that the kernel has otherwise than they were last
// written: each with its table, ordered. It reads the rules only when the kernel's stamp has changed, and changes nothing.
func (r *Router) Drift(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.services == nil {
		return nil, nil // nothing was given yet
	}
	before, err := r.backend.stamp()
	switch {
	case err != nil:
		return nil, fmt.Errorf("drift of the rules: %w", err)
	case before == r.stamp:
		return nil, nil
	case before == r.drifted:
		return r.drift, nil
	}
	have, err := r.backend.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("drift of the rules: %w", err)
	}
	want := r.want(have)
	r.drifted, r.drift = before, differing(have, want)
	if len(r.drift) > 0 {
		return r.drift, nil
	}
	// Others have changed only what is theirs.
	if after, err := r.backend.stamp(); err == nil && after == before {
		r.known, r.stamp = want, before
	}
	return nil, nil
}

// Repair makes the kernel's rules again what they were given as.
func (r *Router) Repair(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.services == nil {
		return nil
	}
	if _, err := r.settle(ctx); err != nil {
		return fmt.Errorf("repair the rules: %w", err)
	}
	return nil
}

// differing names what is not the same in two rulesets.
func differing(have, want ruleset) []string {
	var found []string
	for _, name := range want.tables() {
		h, w := have[name], want[name]
		names := map[string]bool{}
		for _, t := range []*table{h, w} {
			for chain := range t.chains {
				names[chain] = true
			}
			for chain := range t.jumps {
				names[chain] = true
			}
		}
		for chain := range names {
			before, there := h.chains[chain]
			after, wanted := w.chains[chain]
			if there != wanted || before != after || !slices.Equal(h.jumps[chain], w.jumps[chain]) || h.displaced[chain] {
				found = append(found, name+" "+chain)
			}
		}
	}
	slices.Sort(found)
	return found
}
