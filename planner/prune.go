package planner

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"headway.dev/headway/api"
)

const (
	// ProtectAnnotation keeps an object from being deleted without an approval, unless its value is false.
	ProtectAnnotation = "headway.dev/protect"
	// ApproveTrailer is the line of a commit message that approves deletions: refs, with commas between them. One that
	// ends in * approves all that begin so, but for what is protected or holds data: that has to be named.
	ApproveTrailer = "Headway-Approve-Delete"

	// builtinObjects and builtinShare bound what one commit may delete where no Cluster says: more than half of all
	// objects, and more than a few, is rather a mistake.
	builtinObjects = 10
	builtinShare   = 50
)

// A Deletion is an object that Git does not hold any more.
type Deletion struct {
	Ref api.Ref `json:"ref"`
	// Source is where it was declared, as far as that is known.
	Source api.Position `json:"source,omitzero"`
	// Pods is how many of its pods run.
	Pods int `json:"pods"`
	// Held says why it stays nonetheless, and what to write; empty is gone.
	Held string `json:"held,omitempty"`
	// After are what goes first, because it depends on the object; until it is gone the object stays as it was.
	After []api.Ref `json:"after,omitempty"`

	object    api.Object // zero: unknown
	protected bool
	approved  bool
}

// stays reports whether the object is still in force.
func (d *Deletion) stays() bool { return d.Held != "" || len(d.After) > 0 }

// pruning is what is deleted for want of being in Git, and what is not.
type pruning struct {
	deletions []Deletion // ordered by ref
	problems  []api.Problem
}

// kept are the objects whose deletion is held, or waits, as far as they are known: they are driven on as if Git had them.
func (p *pruning) kept() []api.Object {
	var kept []api.Object
	for i := range p.deletions {
		if d := &p.deletions[i]; d.stays() && d.object.Value != nil {
			kept = append(kept, d.object)
		}
	}
	return kept
}

// newPruning decides what goes. Without leave to prune nothing does, and nothing is told.
func newPruning(in *Input, d *declared, seen *observed) *pruning {
	p := &pruning{}
	if !in.Prune {
		return p
	}
	total := p.find(in, d, seen)
	approvals := parseApprovals(in.Revision.Message)
	counted, bindings := 0, bindingsOf(in, seen)
	for i := range p.deletions {
		d := &p.deletions[i]
		why := lossOf(d, bindings)
		careful := why != ""
		d.approved = approvals.cover(d.Ref, careful)
		switch {
		case d.approved:
		case careful:
			d.Held = fmt.Sprintf("it is gone from Git, but %s: it stays. Declare it again, or delete it by a commit whose message has the line %q",
				why, ApproveTrailer+": "+d.Ref.String())
			p.problems = append(p.problems, api.Problem{Ref: d.Ref, Source: d.Source, Message: d.Held, Warning: true})
		default:
			counted++
		}
	}
	if over := overBudget(in, counted, total); over != "" {
		p.holdAll(over)
	}
	p.putInOrder(d, seen)
	return p
}

// lossOf says what makes a deletion one that has to be approved; empty is nothing. The data of a claim that is bound to a
// declared volume stays on that, so that there it is the volume which counts.
func lossOf(d *Deletion, b *bindings) string {
	claim, bound := b.boundTo(d.Ref)
	switch {
	case d.protected:
		return "it is protected by the annotation " + ProtectAnnotation
	case d.Ref.Kind == "Namespace", d.Ref.Kind == "PersistentVolumeClaim" && b.volumes[d.Ref] == "":
		return "what it holds would be lost"
	case bound:
		return "it has the data of " + claim.String()
	}
	return ""
}

// find lists what Git does not hold of what was in force, or runs. It gives how many objects there are of old and new.
func (p *pruning) find(in *Input, d *declared, seen *observed) int {
	gone := map[api.Ref]*Deletion{}
	find := func(ref api.Ref) *Deletion {
		if gone[ref] == nil {
			gone[ref] = &Deletion{Ref: ref}
		}
		return gone[ref]
	}
	for _, o := range d.dropped {
		d := find(o.Ref)
		d.Source, d.object, d.protected = o.Source, o, isProtected(o)
	}
	for _, g := range seen.sorted {
		if d.desires(g.owner) {
			continue
		}
		ref := g.owner
		if cron, _, isRun := cronOf(ref); isRun && gone[cron] != nil {
			ref = cron
		}
		for _, pod := range g.pods {
			if isStopping(pod) {
				continue
			}
			d := find(ref) // maybe nobody knows of it any more but its pods
			d.Pods++
			d.protected = d.protected || pod.Protected
		}
	}
	for i := range in.Routes {
		if ref := in.Routes[i].Service; !d.refs[ref] {
			find(ref)
		}
	}
	for i := range in.Claims { // maybe nobody knows of it any more but the node that has it
		switch held := &in.Claims[i]; {
		case held.Volume != "" && !d.refs[volumeRef(held.Volume)]:
			find(volumeRef(held.Volume))
		case held.Volume == "" && held.Owner == held.Ref && !d.refs[held.Ref]:
			find(held.Ref)
		}
	}
	for _, d := range gone {
		p.deletions = append(p.deletions, *d)
	}
	slices.SortFunc(p.deletions, func(a, b Deletion) int { return a.Ref.Compare(b.Ref) })
	return len(d.refs) + len(gone)
}

func isProtected(o api.Object) bool {
	m, err := meta.Accessor(o.Value)
	if err != nil {
		return false
	}
	value, ok := m.GetAnnotations()[ProtectAnnotation]
	return ok && value != "false"
}

// overBudget says how a number of deletions is more than one commit may make; empty is within the budget. A commit that
// takes the Cluster away goes by the one that was.
func overBudget(in *Input, n, total int) string {
	budget := clusterOf(in.Desired)
	if budget == nil {
		budget = clusterOf(in.Deployed)
	}
	if budget == nil || budget.Spec.Deletion == nil {
		if n > builtinObjects && n*100 > builtinShare*total {
			return fmt.Sprintf("%d of %d objects, where %d%% may go at once", n, total, builtinShare)
		}
		return ""
	}
	limits := budget.Spec.Deletion
	if most := limits.MaxObjects; most != nil && n > int(*most) {
		return fmt.Sprintf("%d objects, where %d may go at once", n, *most)
	}
	if share := limits.MaxShare; share != nil && n*100 > int(*share)*total {
		return fmt.Sprintf("%d of %d objects, where %s may go at once", n, total, *share)
	}
	return ""
}

func clusterOf(objects []api.Object) *api.Cluster {
	for i := range objects {
		if c, ok := objects[i].Value.(*api.Cluster); ok {
			return c
		}
	}
	return nil
}

// holdAll keeps everything that no line of the commit message approves.
func (p *pruning) holdAll(over string) {
	var refs []string
	for i := range p.deletions {
		if d := &p.deletions[i]; d.Held == "" && !d.approved {
			d.Held = "this commit would delete " + over + ": it stays"
			refs = append(refs, d.Ref.String())
		}
	}
	const told = 3
	named := strings.Join(refs[:min(told, len(refs))], ", ")
	if len(refs) > told {
		named += ", …"
	}
	p.problems = append(p.problems, api.Problem{Message: fmt.Sprintf(
		"this commit would delete %s: nothing is deleted. Revert it; or raise spec.deletion of the Cluster; or approve it by a commit whose message has lines such as %q, or with a * for the end of a name",
		over, ApproveTrailer+": "+named)})
}

// approvals are the refs of a commit message that may be deleted.
type approvals []string

func parseApprovals(message string) approvals {
	var a approvals
	for line := range strings.Lines(message) {
		key, value, ok := strings.Cut(line, ":")
		if !ok || !strings.EqualFold(strings.TrimSpace(key), ApproveTrailer) {
			continue
		}
		for ref := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }) {
			a = append(a, ref)
		}
	}
	return a
}

// cover reports whether a deletion is approved. What asks for care has to be named in full.
func (a approvals) cover(ref api.Ref, careful bool) bool {
	name := ref.String()
	return slices.ContainsFunc(a, func(approved string) bool {
		prefix, any := strings.CutSuffix(approved, "*")
		return approved == name || any && !careful && strings.HasPrefix(name, prefix)
	})
}

// prune stops the pods whose owner Git no longer declares. Without leave to prune they are left alone, whatever their state.
func (p *pass) prune() {
	if !p.in.Prune {
		return
	}
	for _, g := range p.seen.sorted {
		if p.want.owns(g.owner) || p.stays(g.owner) {
			continue
		}
		for _, pod := range g.pods {
			p.stop(pod, ClassPruned, fmt.Sprintf("pruned: %s is gone from Git", g.owner))
		}
	}
}

// stays reports whether what Git does not hold is left alone: there is no leave to delete it.
func (p *pass) stays(ref api.Ref) bool {
	if !p.in.Prune || p.holds[ref] {
		return true
	}
	cron, _, ok := cronOf(ref)
	return ok && p.holds[cron]
}

// takeOver puts what is deleted into the plan, and what is in force after it.
func (p *pass) takeOver(pruning *pruning) {
	p.plan.Deletions = append(p.plan.Deletions, pruning.deletions...)
	p.plan.Problems = append(p.plan.Problems, pruning.problems...)
	for i := range pruning.deletions {
		if d := &pruning.deletions[i]; d.stays() {
			p.holds[d.Ref] = true
		}
	}
	p.plan.Kept = pruning.kept()
	if !p.in.Prune {
		p.plan.Kept = append(p.plan.Kept, p.memory.declared.dropped...)
	}
	slices.SortFunc(p.plan.Kept, func(a, b api.Object) int { return a.Ref.Compare(b.Ref) })
}
