package controller

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"headway.dev/headway/api"
)

// report is what the controller says of the whole. trouble is what went wrong in carrying out the last effects, or nil.
// The digest of the objects is left to whoever stores them.
func (s *state) report(now time.Time, trouble error) api.Report {
	r := api.Report{
		Time: now, Term: s.term, Repository: s.repository, Head: s.head(), Deployed: s.deployed, Waiting: !s.planned,
		Workloads: s.workloads, Jobs: s.jobs, Scales: s.scales, Pending: s.pending, Nodes: []api.NodeCondition{},
		Fleet: s.fleet,
	}
	if r.Workloads == nil {
		r.Workloads = []api.WorkloadStatus{}
	}
	r.Quarantined = slices.Sorted(maps.Keys(s.quarantined))
	r.Refused = append(r.Refused, s.desired.refusals()...)
	r.Refused = append(r.Refused, s.problems...)
	if s.held != (hold{}) {
		r.Refused = append(r.Refused, api.Problem{Message: s.held.reason, Warning: !s.held.wrong})
	}
	if s.waiting != "" {
		r.Refused = append(r.Refused, api.Problem{Message: s.waiting, Warning: true})
	}
	if trouble != nil {
		r.Refused = append(r.Refused, api.Problem{Message: "carrying out the plan: " + trouble.Error() + "; it is tried again"})
	}
	for _, n := range s.sortedNodes() {
		if n.unlooked {
			n.census.assigned = s.count(n, standing{}).assigned
		}
		r.Nodes = append(r.Nodes, s.condition(n, n.census.assigned))
	}
	return r
}

// head is the newest commit, be it in force or not.
func (s *state) head() api.Revision {
	if s.newestKnown {
		return s.newest.head
	}
	return s.desired.head
}

// refusals are why the head is not in force as a whole. What a whole commit is only warned of is not among them.
func (d desired) refusals() []api.Problem {
	var refused []api.Problem
	if d.trouble != "" {
		refused = append(refused, api.Problem{Message: d.trouble})
	}
	for _, p := range d.problems {
		if !d.whole || !p.Warning {
			refused = append(refused, p)
		}
	}
	return refused
}

// sameReport reports whether two reports say the same, whenever they say it.
func sameReport(a, b api.Report) bool {
	a.Time, b.Time = time.Time{}, time.Time{}
	return reflect.DeepEqual(a, b)
}

// firstLine is the subject of a commit message.
func firstLine(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	return line
}

// clone keeps what is handed to another goroutine from changing under it.
func clone(r api.Report) api.Report {
	r.Refused, r.Workloads, r.Jobs = slices.Clone(r.Refused), slices.Clone(r.Workloads), slices.Clone(r.Jobs)
	r.Pending, r.Nodes = slices.Clone(r.Pending), slices.Clone(r.Nodes)
	return r
}
