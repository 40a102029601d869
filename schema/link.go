package schema

import (
	"cmp"
	"fmt"
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
	// declared are the objects ordered by ref, each once, those in quarantine too. A pass over all objects should walk
	// it, and look up (find) only what it needs: there may be many thousands.
	declared []*declared
	// open are the namespaces with workloads that could not be read: a service may well select those. blind stands for all namespaces, when a whole file could not be read.
	open  map[string]bool
	blind bool
	// byHand are the services that have addresses written by hand; nil until it is asked for.
	byHand map[api.Ref]bool
	// strict refuses kinds that are not run here.
	strict bool
}

// link makes the result from the parts, which may come in any order.
func link(parts []*fileResult, o *order) *Result {
	l := &linker{open: map[string]bool{}}
	var notes []note
	empty := true
	for _, p := range parts {
		l.problems = append(l.problems, p.problems...)
		l.blind = l.blind || slices.ContainsFunc(p.problems, func(p api.Problem) bool { return p.Ref.IsZero() && !p.Warning })
		notes = append(notes, p.notes...)
		empty = empty && len(p.objects) == 0 && len(p.notes) == 0
	}
	l.identities(o.sorted(parts))
	l.references()
	l.clusters()
	l.nodePorts()
	l.scaling()
	l.priorities()
	l.selections()
	l.namespaces()
	l.tell(notes)
	if empty && !slices.ContainsFunc(l.problems, func(p api.Problem) bool { return !p.Warning }) {
		l.problems = append(l.problems, api.Problem{Message: "the tree holds no object at all: is the path right? (to remove everything, keep a Namespace)"})
	}

	r := &Result{Complete: true, Objects: make([]api.Object, 0, len(l.declared))}
	for _, d := range l.declared {
		if d.stands() {
			r.Objects = append(r.Objects, api.Object{Ref: d.ref, Source: d.source, Value: d.value, Fingerprint: d.fingerprint})
		}
	}
	slices.SortFunc(l.problems, compareProblems)
	r.Problems = slices.Compact(l.problems)
	for _, p := range r.Problems {
		r.Complete = r.Complete && p.Warning
	}
	return r
}

// index finds the place of an object by its ref.
func (l *linker) index(ref api.Ref) (int, bool) {
	return slices.BinarySearchFunc(l.declared, ref, func(d *declared, ref api.Ref) int { return d.ref.Compare(ref) })
}

// find finds an object by its ref; nil if it is not declared.
func (l *linker) find(ref api.Ref) *declared {
	if i, ok := l.index(ref); ok {
		return l.declared[i]
	}
	return nil
}

// change gives a declared object other properties, in this linking only: it may be part of other trees.
func (l *linker) change(ref api.Ref, f func(*declared)) {
	if i, ok := l.index(ref); ok {
		d := *l.declared[i]
		f(&d)
		l.declared[i] = &d
	}
}

// workloads are the kinds that make pods.
func workloads() []string {
	return []string{"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"}
}

// quarantine takes an object out of the result, but not out of mind.
func (l *linker) quarantine(ref api.Ref) { l.change(ref, func(d *declared) { d.faulty = true }) }

// identities takes in objects that are ordered by ref, and finds those that are declared more than once. Equal ones are
// one; of different ones, none is taken.
func (l *linker) identities(objects []*declared) {
	var doubled [][]*declared
	l.declared = make([]*declared, 0, len(objects))
	for len(objects) > 0 {
		n := 1
		for n < len(objects) && objects[n].ref == objects[0].ref {
			n++
		}
		for _, d := range objects[:n] {
			if d.value == nil && slices.Contains(workloads(), d.ref.Kind) {
				l.open[cmp.Or(d.ref.Namespace, corev1.NamespaceDefault)] = true
			}
		}
		l.declared = append(l.declared, objects[0])
		if n > 1 {
			doubled = append(doubled, objects[:n])
		}
		objects = objects[n:]
	}
	for _, all := range doubled {
		l.doubled(all[0].ref, all)
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
func (l *linker) namespaces() {
	told := map[string]bool{"": true, corev1.NamespaceDefault: true}
	for _, d := range l.declared {
		namespace := d.ref.Namespace
		if told[namespace] {
			continue
		}
		told[namespace] = true
		if l.find(api.Ref{Kind: "Namespace", Name: namespace}) == nil {
			l.report(d, true, "namespace %s is not declared: add a Namespace object", namespace)
		}
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
