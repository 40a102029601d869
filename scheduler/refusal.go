package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
)

// refusedBy gives the first filter that refuses the node; nil where the pod fits.
func (a *ask) refusedBy(n *node) *filter {
	for i := range filters {
		if filters[i].refuses(a, n) {
			return &filters[i]
		}
	}
	return nil
}

// refusal says why no node fits: each node is counted once, the commonest reason first. Where claims lie, only that node
// comes into question.
func (f *fleet) refusal(a *ask) string {
	if len(f.nodes) == 0 {
		return "0 of 0 nodes fit: no node has joined"
	}
	none := fmt.Sprintf("0 of %d nodes fit: ", len(f.nodes))
	if a.home != nil {
		n := a.home.node
		by := a.refusedBy(n)
		if by == nil {
			return none + a.home.says("")
		}
		return none + a.home.says(by.says(a, n).one+by.more(a, n))
	}
	type group struct {
		filter *filter
		phrase phrase
		count  int
		best   *node // the one with the most of what is lacking
	}
	var groups []*group
	for _, n := range f.nodes {
		by := a.refusedBy(n)
		phrase := by.says(a, n)
		i := slices.IndexFunc(groups, func(g *group) bool { return g.filter == by && g.phrase == phrase })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{filter: by, phrase: phrase, best: n})
		}
		groups[i].count++
		if by.room != nil && by.room(a, n) > by.room(a, groups[i].best) {
			groups[i].best = n
		}
	}
	slices.SortStableFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(order(a.filter), order(b.filter)), cmp.Compare(a.phrase.one, b.phrase.one))
	})
	said := make([]string, len(groups))
	for i, g := range groups {
		said[i] = fmt.Sprintf("%d %s%s", g.count, g.phrase.of(g.count), g.filter.more(a, g.best))
	}
	return none + strings.Join(said, ", ")
}

// more is what there is to add about the room that is lacking.
func (by *filter) more(a *ask, best *node) string {
	if by.aside == nil {
		return ""
	}
	return by.aside(a, best)
}

func order(by *filter) int {
	for i := range filters {
		if &filters[i] == by {
			return i
		}
	}
	return len(filters)
}

// says why the rule refuses a node.
func (r *rule) says(n *node) phrase {
	switch {
	case r.all[n.index] < 0:
		return lack.with("the label " + r.key + ", which a rule of the pod goes by")
	case r.what == spread && int64(len(r.known)) < r.minDomains:
		return phrase{"would", "would"}.with(fmt.Sprintf(" break the spread over %s (maxSkew %d, %d of at least %d domains)",
			r.key, r.maxSkew, len(r.known), r.minDomains))
	case r.what == spread:
		return phrase{"would", "would"}.with(fmt.Sprintf(" break the spread over %s (maxSkew %d)", r.key, r.maxSkew))
	case r.what == near:
		return r.where("no").with(pods(r.term) + ", which it is to be near")
	case r.what == apart:
		return r.where("a").with(pods(r.term) + ", which it keeps away from")
	}
	return r.where("a").with("pod of " + r.bearer(n).String() + ", which keeps away from it")
}

// where begins a phrase on the pods of a node, or of its domain.
func (r *rule) where(article string) phrase {
	if r.key == corev1.LabelHostname {
		return run.with(article + " ")
	}
	return is.with("in a " + r.key + " with " + article + " ")
}

func pods(t *term) string {
	if text := t.selector.String(); text != "" {
		return "pod of " + text
	}
	return "pod"
}

// bearer is the owner of the pods that keep away from whatever asks for the node; of several the first by name.
func (r *rule) bearer(n *node) api.Ref {
	var first api.Ref
	for _, b := range r.bearing {
		at := func(m *node) bool { return r.of[m.index] == r.of[n.index] }
		if (first.IsZero() || b.kind.owner.Compare(first) < 0) && (slices.ContainsFunc(b.kind.settled, at) || slices.ContainsFunc(b.kind.leaving, at)) {
			first = b.kind.owner
		}
	}
	return first
}

func cpu(milli int64) string {
	return resource.NewMilliQuantity(max(0, milli), resource.DecimalSI).String()
}

func memory(bytes int64) string {
	return resource.NewQuantity(max(0, bytes), resource.BinarySI).String()
}

// quantity writes an amount of an extended resource: devices are counted, all else is in bytes.
func quantity(name string, amount int64) string {
	if strings.Contains(name, "/") {
		return fmt.Sprint(max(0, amount))
	}
	return memory(amount)
}
