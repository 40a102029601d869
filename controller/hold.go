package controller

import (
	"fmt"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
)

// A hold is why the newest commit is not taken, though it evaluates; the zero value is none.
type hold struct {
	reason string
	until  time.Time // zero: until Git says otherwise
	wrong  bool      // somebody has to mend it
}

// settings are the fleet's; the zero value, whose defaults hold, is of a repository without any.
type settings struct {
	ref  api.Ref // of the Cluster object
	spec api.ClusterSpec
}

// settingsOf finds the settings among objects.
func settingsOf(objects []api.Object) (found settings, ok bool) {
	for _, o := range objects {
		if c, ok := o.Value.(*api.Cluster); ok {
			return settings{ref: o.Ref, spec: c.Spec}, true
		}
	}
	return settings{}, false
}

// settings are those that a commit asks for: its own; or, if it does not evaluate and they may be what is broken in it, those
// of the commit before, taken or not, so that no mistake lifts a hold.
func (s *state) settings(c compiled, earlier []api.Object) settings {
	for _, a := range append([]compiled{c}, c.ancestors...) {
		if found, ok := settingsOf(a.result.Objects); ok || a.stands() {
			return found
		}
	}
	if s.newestKnown {
		return s.newest.settings
	}
	found, _ := settingsOf(earlier)
	return found
}

// holdOf says why a commit is not taken now. The settings that count are those it asks for: a commit that lifts a hold is taken.
func (s *state) holdOf(o outcome, now time.Time) hold {
	if s.quarantined[o.head.Commit] {
		return hold{wrong: true, reason: fmt.Sprintf("commit %s was reverted because it failed, and is not taken again: commit what mends it", o.head.Short())}
	}
	spec, ref := o.settings.spec, o.settings.ref
	if spec.Suspend {
		return hold{reason: fmt.Sprintf("%s suspends the fleet: no commit is taken until one sets spec.suspend to false", ref)}
	}
	until, err := planner.Frozen(spec.Freeze, now)
	switch {
	case !until.IsZero():
		return hold{until: until, reason: fmt.Sprintf("%s freezes the fleet until %s: no commit is taken before, but one that takes the window away", ref, until.UTC().Format(time.RFC3339))}
	case err != nil:
		return hold{wrong: true, reason: fmt.Sprintf("%s: spec.%s; no commit is taken until that is mended", ref, err)}
	}
	return hold{}
}

// observeCommit takes in the newest commit, which is in force unless it is held.
func (s *state) observeCommit(c compiled, now time.Time) {
	s.learnReverts(c)
	s.newest, s.newestKnown, s.desired.newest, s.desired.trouble = s.outcome(c, now), true, false, ""
	s.held = hold{}
	s.promote(now)
}

// promote puts the newest commit in force, unless it is there or held. While it is held, what was in force stays so; a leader
// that knows of that only what the store has plans by it.
func (s *state) promote(now time.Time) {
	if !s.newestKnown || s.desired.known && s.desired.newest && s.held == (hold{}) {
		return
	}
	before := s.held
	s.held = s.holdOf(s.newest, now)
	if s.held == (hold{}) {
		if before != (hold{}) {
			s.event(api.Event{Time: now, Kind: "Released", Reason: "the commit is not held any more", Commit: s.newest.head.Commit})
		}
		s.enact(s.newest, now)
		s.desired.newest = true
		return
	}
	s.desired.newest = false
	if s.held != before {
		s.event(api.Event{Time: now, Kind: "Held", Reason: s.held.reason, Commit: s.newest.head.Commit, Warning: true})
	}
	if !s.desired.known && s.inForce != nil {
		s.enact(outcome{head: s.deployed, objects: s.inForce, gaps: true}, now)
	}
}
