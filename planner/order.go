package planner

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"

	"headway.dev/headway/api"
)

// DependsAnnotation names what an object depends on: refs with commas between, kind/namespace/name, or kind/name in its own
// namespace. How the kind is capitalized makes no difference.
const DependsAnnotation = "headway.dev/depends-on"

const dependsField = "metadata.annotations[" + DependsAnnotation + "]"

// An order is what depends on what, over all kinds: by annotation, and because an object is of no use without another, such
// as a pod's config map. It is made only where something has the annotation: what is implied alone is there at once.
type order struct {
	needs    map[api.Ref][]api.Ref // by who depends; ordered, each once
	written  map[api.Ref][]api.Ref // those of needs that an annotation names
	declared map[api.Ref]api.Object
	// behind are the workloads that a service leads to, of services that something depends on. Any of them will do.
	behind map[api.Ref][]api.Ref
	// rank is greater than that of all that is depended on. What is in a cycle has none, nor what depends on that.
	rank     map[api.Ref]int
	cycles   map[api.Ref]string // why its members can never begin
	problems []api.Problem
}

// Order tells what is wrong with the dependencies of objects: refs that name nothing, and cycles. What has such a problem
// would wait for ever.
func Order(objects []api.Object) []api.Problem {
	if o := newOrder(objects); o != nil {
		return o.problems
	}
	return nil
}

// newOrder gives nil where no object says what it depends on.
func newOrder(objects []api.Object) *order {
	var annotated []api.Object
	for i := range objects {
		if dependsOn(&objects[i]) != "" {
			annotated = append(annotated, objects[i])
		}
	}
	if annotated == nil {
		return nil
	}
	slices.SortFunc(annotated, func(a, b api.Object) int { return a.Ref.Compare(b.Ref) })
	o := &order{
		needs: map[api.Ref][]api.Ref{}, written: map[api.Ref][]api.Ref{}, declared: make(map[api.Ref]api.Object, len(objects)),
		behind: map[api.Ref][]api.Ref{}, rank: map[api.Ref]int{}, cycles: map[api.Ref]string{},
	}
	spelled := make(map[api.Ref]api.Ref, len(objects)) // by the ref with its kind in lower case
	for i := range objects {
		ref := objects[i].Ref
		o.declared[ref] = objects[i]
		spelled[lowered(ref)] = ref
	}
	for i := range annotated {
		o.read(&annotated[i], spelled)
	}
	for ref := range o.declared {
		o.imply(ref)
	}
	o.lookBehind()
	o.sort()
	o.findCycles()
	slices.SortStableFunc(o.problems, func(a, b api.Problem) int { return a.Ref.Compare(b.Ref) })
	return o
}

func dependsOn(o *api.Object) string {
	m, err := meta.Accessor(o.Value)
	if err != nil {
		return ""
	}
	return m.GetAnnotations()[DependsAnnotation]
}

func lowered(ref api.Ref) api.Ref {
	ref.Kind = strings.ToLower(ref.Kind)
	return ref
}

// read takes down what an object's annotation names.
func (o *order) read(object *api.Object, spelled map[api.Ref]api.Ref) {
	for word := range strings.SplitSeq(dependsOn(object), ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		ref, err := api.ParseRef(word)
		if err != nil {
			o.problem(object, err.Error())
			continue
		}
		wide, isWide := spelled[lowered(ref)]
		if ref.Namespace == "" {
			ref.Namespace = object.Ref.Namespace
		}
		known, ok := spelled[lowered(ref)]
		switch {
		case ok:
			ref = known
		case isWide: // of a kind that belongs to the whole cluster
			ref = wide
		default:
			o.problem(object, fmt.Sprintf("it depends on %s, which is not declared: declare it, or take it out of the annotation", ref))
		}
		o.written[object.Ref] = append(o.written[object.Ref], ref)
	}
	o.written[object.Ref] = unique(o.written[object.Ref])
	o.needs[object.Ref] = slices.Clone(o.written[object.Ref])
}

func unique(refs []api.Ref) []api.Ref {
	slices.SortFunc(refs, api.Ref.Compare)
	return slices.Compact(refs)
}

func (o *order) problem(object *api.Object, message string) {
	o.problems = append(o.problems, api.Problem{Ref: object.Ref, Source: object.Source, Field: dependsField, Message: message})
}

// imply adds what an object is of no use without: its namespace, and what its pods use. What of that is not declared is no
// dependency, but may be another problem.
func (o *order) imply(ref api.Ref) {
	var implied []api.Ref
	add := func(kind, namespace, name string) {
		need := api.Ref{Kind: kind, Namespace: namespace, Name: name}
		if _, ok := o.declared[need]; ok && need != ref {
			implied = append(implied, need)
		}
	}
	add("Namespace", "", ref.Namespace)
	if _, spec, ok := podsOf(o.declared[ref].Value); ok {
		for _, use := range contentUses(spec) {
			add(use.kind, ref.Namespace, use.name)
		}
		for i := range spec.Volumes {
			if claim := spec.Volumes[i].PersistentVolumeClaim; claim != nil {
				add("PersistentVolumeClaim", ref.Namespace, claim.ClaimName)
			}
		}
		add("PriorityClass", "", spec.PriorityClassName)
	}
	if len(implied) > 0 {
		o.needs[ref] = unique(append(o.needs[ref], implied...))
	}
}

// lookBehind finds the workloads whose pods are the endpoints of services that something depends on.
func (o *order) lookBehind() {
	for _, needs := range o.needs {
		for _, ref := range needs {
			if _, ok := o.declared[ref].Value.(*corev1.Service); ok {
				o.behind[ref] = nil
			}
		}
	}
	if len(o.behind) == 0 {
		return
	}
	for _, object := range o.declared {
		pods, _, ok := podsOf(object.Value)
		if !ok {
			continue
		}
		for ref := range o.behind {
			selector := o.declared[ref].Value.(*corev1.Service).Spec.Selector
			if ref.Namespace == object.Ref.Namespace && len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(pods.Labels)) {
				o.behind[ref] = append(o.behind[ref], object.Ref)
			}
		}
	}
	for ref := range o.behind {
		o.behind[ref] = unique(o.behind[ref])
		service := o.declared[ref]
		spec := &service.Value.(*corev1.Service).Spec
		if len(o.behind[ref]) == 0 && len(spec.Selector) > 0 && !isAlias(spec) {
			o.problems = append(o.problems, api.Problem{
				Ref: ref, Source: service.Source, Field: "spec.selector",
				Message: "it selects the pods of no workload: what depends on it waits for ever",
			})
		}
	}
}

// sort ranks what can come to be, what nothing has to come before first (Kahn's algorithm). A service can as soon as one
// of the workloads behind it can.
func (o *order) sort() {
	missing := map[api.Ref]int{}
	waiting, served := map[api.Ref][]api.Ref{}, map[api.Ref][]api.Ref{}
	for ref, needs := range o.needs {
		for _, need := range needs {
			waiting[need] = append(waiting[need], ref)
			missing[need] += 0
		}
		missing[ref] += len(needs)
	}
	for ref, workloads := range o.behind {
		for _, w := range workloads {
			served[w] = append(served[w], ref)
			missing[w] += 0
		}
		missing[ref] += min(1, len(workloads))
	}
	led := map[api.Ref]bool{} // the services that have found a workload
	var next []api.Ref
	for ref, n := range missing {
		if n == 0 {
			next = append(next, ref)
		}
	}
	for rank := 0; len(next) > 0; rank++ { // all of one rank at a time
		var after []api.Ref
		for _, ref := range next {
			o.rank[ref] = rank
			freed := slices.Clone(waiting[ref])
			for _, s := range served[ref] {
				if !led[s] {
					led[s] = true
					freed = append(freed, s)
				}
			}
			for _, w := range freed {
				if missing[w]--; missing[w] == 0 {
					after = append(after, w)
				}
			}
		}
		next = after
	}
}

// stuck are the refs that an unranked one leads to and that are unranked, too.
func (o *order) stuck(ref api.Ref) []api.Ref {
	return slices.DeleteFunc(slices.Concat(o.needs[ref], o.behind[ref]), func(need api.Ref) bool {
		_, ranked := o.rank[need]
		return ranked
	})
}

// findCycles tells the members of cycles apart from what only waits for them: they are those that lead back to themselves.
func (o *order) findCycles() {
	all := slices.Collect(maps.Keys(o.needs))
	for ref := range o.behind {
		all = append(all, ref)
	}
	for _, ref := range unique(all) {
		if _, ranked := o.rank[ref]; ranked {
			continue
		}
		way := o.wayBack(ref)
		if way == nil {
			continue
		}
		names := make([]string, len(way))
		for i, r := range way {
			names[i] = r.String()
		}
		o.cycles[ref] = "it depends on itself: " + strings.Join(names, " -> ")
		if object := o.declared[ref]; len(o.written[ref]) > 0 {
			o.problem(&object, o.cycles[ref]+": take one of them out")
		}
	}
}

// wayBack is a shortest way from a ref to itself; nil is none.
func (o *order) wayBack(start api.Ref) []api.Ref {
	from := map[api.Ref]api.Ref{}
	for next := []api.Ref{start}; len(next) > 0; next = next[1:] {
		for _, need := range o.stuck(next[0]) {
			if _, seen := from[need]; seen {
				continue
			}
			from[need] = next[0]
			if need != start {
				next = append(next, need)
				continue
			}
			way := []api.Ref{start}
			for r := from[start]; r != start; r = from[r] {
				way = append(way, r)
			}
			way = append(way, start)
			slices.Reverse(way)
			return way
		}
	}
	return nil
}

// arrange gives workloads with what they depend on before them; those that can never begin come last.
func (o *order) arrange(workloads []workload) []workload {
	if o == nil {
		return workloads
	}
	last := len(o.rank)
	rank := func(ref api.Ref) int {
		if r, ok := o.rank[ref]; ok {
			return r
		}
		if len(o.needs[ref]) == 0 {
			return 0
		}
		return last
	}
	arranged := slices.Clone(workloads)
	slices.SortStableFunc(arranged, func(a, b workload) int { return cmp.Compare(rank(a.Ref), rank(b.Ref)) })
	return arranged
}
