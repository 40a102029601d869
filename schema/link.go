package schema

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// named writes the identity into the object, where the namespace was left to its default.
func named(object runtime.Object, ref api.Ref) runtime.Object {
	if m, err := meta.Accessor(object); err == nil {
		m.SetNamespace(ref.Namespace)
	}
	return object
}

// A linker joins what the files hold, and checks what objects say of each other.
type linker struct {
	problems []api.Problem
	// declared are the objects by ref, those in quarantine too.
	declared map[api.Ref]*declared
	// open are the namespaces with workloads that could not be read: a service may well select those. blind stands for all namespaces, when a whole file could not be read.
	open  map[string]bool
	blind bool
	// strict refuses kinds that are not run here.
	strict bool
}

// link makes the result from the parts, which may come in any order.
func link(parts []*fileResult) *Result {
	l := &linker{declared: map[api.Ref]*declared{}, open: map[string]bool{}}
	var objects []*declared
	var notes []note
	for _, p := range parts {
		l.problems = append(l.problems, p.problems...)
		l.blind = l.blind || slices.ContainsFunc(p.problems, func(p api.Problem) bool { return p.Ref.IsZero() && !p.Warning })
		objects = append(objects, p.objects...)
		notes = append(notes, p.notes...)
	}
	slices.SortStableFunc(objects, func(a, b *declared) int { return comparePositions(a.source, b.source) })
	l.identities(objects)
	refs := slices.SortedFunc(maps.Keys(l.declared), api.Ref.Compare)
	l.references(refs)
	l.clusters(refs)
	l.nodePorts(refs)
	l.scaling(refs)
	l.selections(refs)
	l.namespaces(refs)
	l.tell(notes)
	if len(objects) == 0 && len(notes) == 0 && !slices.ContainsFunc(l.problems, func(p api.Problem) bool { return !p.Warning }) {
		l.problems = append(l.problems, api.Problem{Message: "the tree holds no object at all: is the path right? (to remove everything, keep a Namespace)"})
	}

	r := &Result{Complete: true}
	for _, ref := range refs {
		if d := l.declared[ref]; d.stands() {
			r.Objects = append(r.Objects, api.Object{Ref: ref, Source: d.source, Value: d.value})
		}
	}
	slices.SortFunc(l.problems, compareProblems)
	r.Problems = slices.Compact(l.problems)
	for _, p := range r.Problems {
		r.Complete = r.Complete && p.Warning
	}
	return r
}

// workloads are the kinds that make pods.
func workloads() []string {
	return []string{"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"}
}

// quarantine takes an object out of the result, but not out of mind.
func (l *linker) quarantine(ref api.Ref) {
	d := *l.declared[ref]
	d.faulty = true
	l.declared[ref] = &d
}

// identities finds objects that are declared more than once. Equal ones are one; of different ones, none is taken.
func (l *linker) identities(objects []*declared) {
	doubled := map[api.Ref][]*declared{}
	for _, d := range objects {
		if d.ref.Name == unnamed {
			continue
		}
		if d.value == nil && slices.Contains(workloads(), d.ref.Kind) {
			l.open[cmp.Or(d.ref.Namespace, corev1.NamespaceDefault)] = true
		}
		first, ok := l.declared[d.ref]
		if !ok {
			l.declared[d.ref] = d
			continue
		}
		if len(doubled[d.ref]) == 0 {
			doubled[d.ref] = []*declared{first}
		}
		doubled[d.ref] = append(doubled[d.ref], d)
	}
	for ref, all := range doubled {
		l.doubled(ref, all)
	}
}

// doubled reports an object at each of its declarations.
func (l *linker) doubled(ref api.Ref, all []*declared) {
	equal := !slices.ContainsFunc(all, func(d *declared) bool {
		return !d.right() || !equality.Semantic.DeepEqual(d.value, all[0].value)
	})
	if !equal {
		l.quarantine(ref)
	}
	for i, d := range all {
		var others []string
		for _, o := range all {
			if o.source != d.source {
				others = append(others, o.source.String())
			}
		}
		more := ""
		if len(others) > 2 {
			others, more = others[:2], fmt.Sprintf(" and %d more", len(others)-2)
		}
		at := strings.Join(others, ", ") + more
		switch {
		case len(others) == 0 && equal:
			// A CUE package and one that it is part of yield the same object from the same place.
			return
		case len(others) == 0:
			l.report(d, false, "this place in CUE makes different objects of one name: give them different names")
		case equal && i > 0:
			l.report(d, true, "is declared at %s too, with equal content: remove one of them", at)
		case !equal:
			l.report(d, false, "is declared at %s too: an object may be declared once", at)
		}
	}
}

func (l *linker) report(d *declared, warning bool, format string, args ...any) {
	l.problems = append(l.problems, api.Problem{Source: d.source, Ref: d.ref, Message: fmt.Sprintf(format, args...), Warning: warning})
}

// namespaces warns once of each namespace that has objects but is not declared.
func (l *linker) namespaces(refs []api.Ref) {
	told := map[string]bool{"": true, corev1.NamespaceDefault: true}
	for _, ref := range refs {
		if _, ok := l.declared[api.Ref{Kind: "Namespace", Name: ref.Namespace}]; ok || told[ref.Namespace] {
			continue
		}
		told[ref.Namespace] = true
		l.report(l.declared[ref], true, "namespace %s is not declared: add a Namespace object", ref.Namespace)
	}
}

// tell reports notes, those of one key as one.
func (l *linker) tell(notes []note) {
	type group struct {
		first   api.Problem
		more    int
		foreign bool
	}
	groups := map[string]*group{}
	for _, n := range notes {
		g, ok := groups[n.key]
		if !ok {
			groups[n.key] = &group{first: n.problem, foreign: n.foreign}
			continue
		}
		g.more++
		if compareProblems(n.problem, g.first) < 0 {
			g.first = n.problem
		}
	}
	for _, g := range groups {
		if g.foreign && l.strict {
			g.first.Warning = false
			g.first.Message += ", and the Cluster object has unsupported: refuse"
		}
		switch {
		case g.more == 1:
			g.first.Message += " (and in one more place)"
		case g.more > 1:
			g.first.Message += fmt.Sprintf(" (and in %d more places)", g.more)
		}
		l.problems = append(l.problems, g.first)
	}
}
