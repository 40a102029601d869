package controller

import (
	"fmt"
	"slices"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/schema"
)

// compiled is what came of compiling a commit.
type compiled struct {
	head   api.Revision
	result *schema.Result
	// ancestors, newest first, are for a leader that does not know yet what was in force, and a commit that does not stand by
	// itself; unread is why there are no more of them.
	ancestors []compiled
	unread    error
}

// stands reports whether a commit needs nothing of what was before: it evaluates, and holds objects.
func (c compiled) stands() bool { return c.result.Complete && len(c.result.Objects) > 0 }

// outcome finds what is to be in force when a commit is taken, by what is in force now.
func (s *state) outcome(c compiled, now time.Time) outcome {
	earlier, gaps := s.before(c, now)
	result := c.result.After(earlier)
	o := outcome{head: c.head, objects: result.Objects, problems: slices.Clip(result.Problems), whole: result.Complete, settings: s.settings(c, earlier)}
	if o.whole && len(o.objects) > 0 {
		return o
	}
	o.gaps = gaps
	if c.unread != nil {
		// What is not in the objects is left alone, since the commit is not whole: too little is known, and no harm done.
		o.whole = false
		o.problems = append(o.problems, api.Problem{Message: "the last good version of what this commit breaks or lacks was not found: " + c.unread.Error()})
	}
	if o.whole && len(earlier) > 0 {
		o.whole = false
		o.problems = append(o.problems, api.Problem{Message: "the commit holds no objects at all, which deletes nothing: " +
			"is it the right branch and path? To delete everything that ran, leave one object, such as a Namespace"})
	}
	o.objects = fillIn(o.objects, earlier)
	return o
}

// before gives what was in force before a commit, ordered by ref: as this leader knows it; else the last good version of each
// object among the ancestors that were taken, and in the store what the leader before had in force. There may be gaps in it if
// there is neither.
func (s *state) before(c compiled, now time.Time) (objects []api.Object, gaps bool) {
	if s.desired.known {
		return s.desired.objects, s.desired.gaps
	}
	for i, a := range c.ancestors {
		a.ancestors = c.ancestors[i+1:]
		if s.holdOf(outcome{head: a.head, settings: s.settings(a, nil)}, now) != (hold{}) {
			continue
		}
		if objects = fillIn(objects, a.result.Objects); a.stands() {
			return objects, false
		}
	}
	return fillIn(objects, s.inForce), s.inForce == nil
}

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
	settings settings // that the commit asks for
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
	s.keepTemplates()
	d := &s.desired
	d.outcome, d.known = o, true
	d.generation++
	s.unprovided = true
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
