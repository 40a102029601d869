package node

import "time"

// mayRun says whether a container is to run once more, or at all, whether or not its turn has come.
func (p *pod) mayRun(c *container, now time.Time) bool {
	if c.kind == initContainer && !p.record.Initialized.IsZero() {
		return false
	}
	return c.id == "" || c.settled && c.restart && !now.Before(c.restartAt) && !p.leaves(c)
}

// wantsRun says whether a container is to be made now: when those before it have come far enough.
func (p *pod) wantsRun(c *container, now time.Time) bool {
	if !p.mayRun(c, now) {
		return false
	}
	initialized := !p.record.Initialized.IsZero()
	for _, before := range p.containers[:c.index] {
		switch {
		case before.kind == mainContainer:
			// The next one is not made before this one's postStart hook is done, nor overtakes it on the way to its first run.
			if p.isRunning(before) && !p.isStarted(before) || before.id == "" && before.image == imagePulling {
				return false
			}
		case !initialized && !p.isDone(before):
			return false
		}
	}
	return true
}

// isDone says whether an init container has done its part, so that what comes after it may begin.
func (p *pod) isDone(c *container) bool {
	if c.kind == sidecar {
		return p.isRunning(c) && p.isStarted(c) && p.isBegun(c) && p.noteOf(c).Ending.Since.IsZero()
	}
	e, found := p.record.Ends[c.spec.Name]
	return found && e.ID == c.id && e.ExitCode == 0 && !e.Void
}

// isStarted says whether nothing more is to be done to start the current run.
func (p *pod) isStarted(c *container) bool {
	return postStartOf(c) == nil || p.noteOf(c).PostStart
}

// isBegun says whether the current run has no startup probe that has still to succeed.
func (p *pod) isBegun(c *container) bool { return c.spec.StartupProbe == nil || p.noteOf(c).Begun }

// initialize notes when all init containers have done their part.
func (p *pod) initialize(now time.Time) {
	if p.template == nil || !p.record.Initialized.IsZero() || p.isClosing() {
		return
	}
	done := true
	for _, c := range p.containers {
		if c.kind == mainContainer && p.isRunning(c) {
			done = true // it would not run before
			break
		}
		done = done && (c.kind == mainContainer || p.isDone(c))
	}
	if done {
		p.record.Initialized, p.dirty = now, true
	}
}
