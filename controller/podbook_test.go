package controller

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"headway.dev/headway/planner"
)

// checkBook finds what is known of pods without looking at them to be as it is. Every pass of a scenario or a random history is
// followed by it.
func (s *state) checkBook() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	planned := map[string]planner.Pod{}
	for _, p := range s.pods.keeper.Pods() {
		planned[p.UID] = p
		if len(s.pods.byUID[p.UID]) == 0 {
			wrong("%s is planned, and there is none", p.Pod)
		}
	}
	if s.countPods() < len(s.pods.byUID) {
		wrong("%d pods are known by UID, and there are %d", len(s.pods.byUID), s.countPods())
	}
	for _, n := range s.sortedNodes() {
		for uid, p := range n.pods {
			if !slices.Contains(s.pods.byUID[uid], p) {
				wrong("%s on %s is not known by UID", p.placement.Pod, n.name)
			}
		}
		if !n.uncompared && !n.doubtful && !slices.EqualFunc(n.placements(), n.written.Pods, samePlacement) {
			wrong("%s does not have the pods of its assignment, and would not be given them", n.name)
		}
		stands := standing{n.lost && s.anyAlive(), n.outOfService(), s.lapsed(n)}
		if n.unlooked || stands != n.census.standing {
			continue // the next plan looks at it
		}
		if now := s.count(n, stands); now.assigned != n.census.assigned || now.pulls != n.census.pulls || now.rekeyed && !n.census.rekeyed || now.bare && !n.census.bare {
			wrong("%s was counted as %+v, and is %+v", n.name, n.census, now)
		}
		for uid, p := range n.pods {
			if !p.runs() && !slices.Contains(n.census.idle, p) {
				wrong("%s on %s does not run, and is not known to", p.placement.Pod, n.name)
			}
			if o := s.observed(p); len(s.pods.byUID[uid]) == 1 && !reflect.DeepEqual(o, planned[uid]) {
				wrong("%s on %s is planned as\n%+v\nand is\n%+v", p.placement.Pod, n.name, planned[uid], o)
			}
		}
	}
	return errors.Join(errs...)
}
