package planner

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"headway.dev/headway/api"
)

// AtomicAnnotation names the group of a workload: those of a group that one commit changes promote together, or not at all.
const AtomicAnnotation = "headway.dev/atomic"

// What a commit changes of a group is a promotion. As soon as one of its workloads has failed, all go back to the template
// that was last known to be good, and stay there until a commit gives the failed one another template; what has none such
// stays as it is. Until all of a promotion have completed none of their templates counts as good. An atomic cluster is one
// group, whatever annotations say.
type promotion struct{ group, commit string }

// wholeCluster is the group of everything in an atomic cluster; no annotation can name it.
const wholeCluster = "*"

// groupsOf gives the group of each workload that has one.
func groupsOf(objects []api.Object) map[api.Ref]string {
	c := clusterOf(objects)
	whole := c != nil && c.Spec.Atomic
	groups := map[api.Ref]string{}
	for i := range objects {
		o := &objects[i]
		if _, _, ok := podsOf(o.Value); !ok {
			continue
		}
		if whole {
			groups[o.Ref] = wholeCluster
		} else if m, err := meta.Accessor(o.Value); err == nil && m.GetAnnotations()[AtomicAnnotation] != "" {
			groups[o.Ref] = m.GetAnnotations()[AtomicAnnotation]
		}
	}
	return groups
}

// A Group is what a commit promotes together, or not at all.
type Group struct {
	// Name is that of the annotation; empty is of an atomic cluster.
	Name    string    `json:"name,omitempty"`
	Members []api.Ref `json:"members"` // two or more, ordered
}

// Together gives the groups of what a commit changed, as the workloads tell; ordered by name.
func Together(objects []api.Object, workloads []api.WorkloadStatus, commit string) []Group {
	members := map[string][]api.Ref{}
	groups := groupsOf(objects)
	for i := range workloads {
		if s := &workloads[i]; s.Commit == commit && groups[s.Ref] != "" {
			members[groups[s.Ref]] = append(members[groups[s.Ref]], s.Ref)
		}
	}
	var out []Group
	for name, refs := range members {
		if len(refs) < 2 {
			continue
		}
		slices.SortFunc(refs, api.Ref.Compare)
		if name == wholeCluster {
			name = ""
		}
		out = append(out, Group{name, refs})
	}
	slices.SortFunc(out, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// promotionOf is what a workload whose rollout a commit began is promoted with; false is alone.
func (p *pass) promotionOf(ref api.Ref, commit string) (promotion, bool) {
	group := p.want.groups[ref]
	return promotion{group, commit}, group != ""
}

// findFailed finds the promotions of which a rollout failed.
func (p *pass) findFailed() {
	p.failed = map[promotion]api.Ref{}
	if len(p.want.groups) == 0 {
		return
	}
	for i := range p.want.workloads {
		w := &p.want.workloads[i]
		if before := p.previous[w.Ref]; before != nil && w.err == nil && before.Template == w.template.Digest {
			p.noteFailure(before)
		}
	}
}

// noteFailure takes down a failed rollout of a promotion; the first by ref is told.
func (p *pass) noteFailure(s *api.WorkloadStatus) {
	key, ok := p.promotionOf(s.Ref, s.Commit)
	if !ok || s.Failure == nil || s.Template == s.Stable { // what was good once is no failed rollout
		return
	}
	if first, known := p.failed[key]; !known || s.Ref.Compare(first) < 0 {
		p.failed[key] = s.Ref
	}
}

// failsAnew reports whether this very plan finds that a promotion has failed: what goes with it goes back at once.
func (p *pass) failsAnew() bool {
	if len(p.want.groups) == 0 {
		return false
	}
	known := len(p.failed)
	for i := range p.plan.Workloads {
		p.noteFailure(&p.plan.Workloads[i])
	}
	return len(p.failed) > known
}

// goesBack says why a workload is not to have the template that Git wants: another of its commit failed, or it did itself.
func (p *pass) goesBack(w *workload) string {
	if len(p.failed) == 0 {
		return ""
	}
	before := p.previous[w.Ref]
	if before == nil || before.Template != w.template.Digest {
		return ""
	}
	key, ok := p.promotionOf(w.Ref, before.Commit)
	if !ok {
		return ""
	}
	culprit, ok := p.failed[key]
	switch {
	case !ok:
		return ""
	case culprit == w.Ref || before.Failure != nil:
		return "the rollout failed: " + before.Failure.Reason
	}
	return fmt.Sprintf("%s of the same commit failed", culprit)
}

// retreat has the rollout run the last good template in place of the wanted one, or change nothing where there is none.
func (r *rollout) retreat(w *workload) {
	why := r.goesBack(w)
	if why == "" {
		return
	}
	r.back = why
	stable, known := Template{}, false
	if r.previous.Stable != "" && r.previous.Stable != w.template.Digest {
		stable, known = r.restore(r.previous.Stable)
	}
	if !known {
		r.held = "held, since " + why
		return
	}
	r.template = stable
}

// promote lets the templates of a promotion count as good when all workloads of it have completed.
func (p *pass) promote() {
	if len(p.want.groups) == 0 {
		return
	}
	waits := map[promotion]bool{}
	for i := range p.plan.Workloads {
		s := &p.plan.Workloads[i]
		if key, ok := p.promotionOf(s.Ref, s.Commit); ok {
			waits[key] = waits[key] || s.Completed.IsZero() && s.State != api.RolloutComplete || s.Failure != nil
		}
	}
	for i := range p.plan.Workloads {
		s := &p.plan.Workloads[i]
		if key, ok := p.promotionOf(s.Ref, s.Commit); !ok || !waits[key] {
			continue
		}
		s.Stable = ""
		if before := p.previous[s.Ref]; before != nil {
			s.Stable = before.Stable
		}
	}
}
