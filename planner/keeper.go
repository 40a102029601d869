package planner

import (
	"reflect"
	"slices"
)

// A Keeper makes plans that follow on each other, and keeps of each what the next would only find again: after one pod changed,
// it plans what that pod has to do with. Its plans are those that Compute makes of the same input.
//
// It goes by what it is given being made once and then left as it is: the objects, templates, labels and all else that an Input
// or a Pod leads to by a pointer, and the plans that it gave. Only whole elements of lists may be others the next time.
type Keeper struct {
	seen   *observed
	pods   map[string]*Pod // by UID
	memory memory
}

// NewKeeper gives a Keeper that knows of no pods yet.
func NewKeeper() *Keeper { return &Keeper{seen: observe(nil, 0), pods: map[string]*Pod{}} }

// Plan makes the next plan. The pods are those that the Keeper has been given, and not those of the input.
func (k *Keeper) Plan(in Input) Plan {
	k.seen.settle()
	return k.memory.plan(in, k.seen)
}

// Put takes in a pod, in place of the one of its UID. One that is as it was has nothing planned anew.
func (k *Keeper) Put(pod Pod) {
	known := k.pods[pod.UID]
	if known != nil && reflect.DeepEqual(*known, pod) {
		return
	}
	if known != nil && (known.Owner != pod.Owner || comparePods(known, &pod) != 0) { // it is found by these
		k.Remove(pod.UID)
		known = nil
	}
	g := k.seen.group(pod.Owner)
	if known == nil {
		known = new(Pod)
		k.pods[pod.UID] = known
		g.pods, g.disordered = append(g.pods, known), true
	}
	*known = pod
	k.seen.touch(g)
}

// Remove forgets the pod of a UID, if there is one.
func (k *Keeper) Remove(uid string) {
	pod := k.pods[uid]
	if pod == nil {
		return
	}
	delete(k.pods, uid)
	g := k.seen.group(pod.Owner)
	if i := slices.Index(g.pods, pod); len(g.pods) > 1 {
		g.pods = slices.Delete(g.pods, i, i+1)
		k.seen.touch(g)
	} else {
		k.seen.remove(g)
	}
}

// Pods gives all pods in the order of an Input: by ref and UID.
func (k *Keeper) Pods() []Pod {
	pods := make([]Pod, 0, len(k.pods))
	for _, pod := range k.pods {
		pods = append(pods, *pod)
	}
	slices.SortFunc(pods, func(a, b Pod) int { return comparePods(&a, &b) })
	return pods
}
