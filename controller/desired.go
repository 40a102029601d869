package controller

import (
	"fmt"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// An outcome is what became of one commit: what is to be in force now that it is the newest.
type outcome struct {
	head api.Revision
	// objects are in force, ordered by ref: the commit's own, and in place of what is broken in it or missing from it, if it
	// does not evaluate, the last good version.
	objects []api.Object
	// whole is a commit that is in force as it stands: what it lacks may be pruned.
	whole bool
	// gaps tells that the objects may lack some that were in force before: no commit that evaluates was found to go by.
	gaps     bool
	problems []api.Problem
}

// desired is what Git wants, as far as the controller has learnt.
type desired struct {
	outcome
	known      bool   // some commit's outcome is known
	newest     bool   // it is of the newest commit
	generation int    // counts outcomes: the objects change only with it
	announced  string // the commit whose refusal has had its events
	trouble    string // why the repository or its head cannot be read; empty: it can
}

// maxRefusals bounds the events of one refused commit; the report has all.
const maxRefusals = 20

// enact puts the outcome of a commit in force.
func (s *state) enact(o outcome, now time.Time) {
	d := &s.desired
	d.outcome, d.known = o, true
	d.generation++
	s.declareNodes(o.objects, now)
	s.observeSecrets()
	if o.whole || d.announced == o.head.Commit {
		return
	}
	d.announced = o.head.Commit
	errs := slices.DeleteFunc(slices.Clone(o.problems), func(p api.Problem) bool { return p.Warning })
	for i, p := range errs {
		e := api.Event{Time: now, Kind: "Refused", Ref: p.Ref, Reason: p.String(), Commit: o.head.Commit, Warning: true}
		if i == maxRefusals {
			e.Ref, e.Reason = api.Ref{}, fmt.Sprintf("%d more problems: headway status shows them", len(errs)-i)
		}
		s.event(e)
		if i == maxRefusals {
			break
		}
	}
}

// observeTrouble takes in why the repository, or its head, cannot be read; empty when it can be again. What is in force
// stays in force.
func (s *state) observeTrouble(trouble string, now time.Time) (changed bool) {
	if s.desired.trouble == trouble {
		return false
	}
	s.desired.trouble = trouble
	if trouble != "" {
		s.event(api.Event{Time: now, Kind: "RepositoryFailed", Reason: trouble, Warning: true})
	}
	return true
}

// mayPrune reports whether what the objects do not hold may be deleted. No objects at all never delete anything.
func (d desired) mayPrune() bool { return d.whole && len(d.objects) > 0 }

// fillIn gives the objects, and of the earlier ones those that they lack, ordered by ref.
func fillIn(objects, earlier []api.Object) []api.Object {
	have := make(map[api.Ref]bool, len(objects))
	for _, o := range objects {
		have[o.Ref] = true
	}
	filled := slices.Clone(objects)
	for _, o := range earlier {
		if !have[o.Ref] {
			filled = append(filled, o)
		}
	}
	slices.SortStableFunc(filled, func(a, b api.Object) int { return a.Ref.Compare(b.Ref) })
	return filled
}
