package node

import (
	"context"
	"slices"
	"strings"
	"time"

	"headway.dev/headway/api"
)

// Drift is what differs from the assignment though neither a commit nor the node itself brought it about: a container that
// somebody killed, took away, froze or gave other limits, a rule of the kernel that somebody changed. How a process ends by itself is none: what
// follows on that is for its restart policy to say.

// driftEvery is how often the node looks at its containers though none is known to have ended, and whether the kernel has the
// rules that it was given.
const driftEvery = 5 * time.Second

const (
	eventDrift    = "Drift"
	reasonDrifted = "Drifted"
	leftAsItIs    = "; it is left so, since the cluster asks for drift to be reported"
)

// A RuleKeeper is a Router that can tell whether others have changed its rules.
type RuleKeeper interface {
	// Drift names what the kernel has otherwise than it was given, for a person; none is empty. It changes nothing.
	Drift(ctx context.Context) ([]string, error)
	// Repair makes the kernel's rules again what they were given as.
	Repair(ctx context.Context) error
}

// followDrift takes in what the assignment says of drift. The agent is locked.
func (a *Agent) followDrift() {
	a.onlyReports.Store(a.assignment != nil && a.assignment.Drift == api.DriftReport)
}

// isDrift says whether the run that has ended so was ended by somebody who is neither the node nor the kernel, short of
// memory, nor the machine that stopped. One that is lost is seen on its way out: who takes a container away takes its task first.
func (p *pod) isDrift(c *container, e end) bool {
	if e.ExitCode != exitUnknown && !e.Lost || e.OOM || e.Asked != "" || e.Unstarted != "" || e.Shutdown {
		return false
	}
	if shared := p.template.Spec.ShareProcessNamespace; shared != nil && *shared {
		return false // the kernel kills all with the first
	}
	return c.begunHere || !p.rebooted
}

// leaves says whether a container that has drifted is to stay as it is.
func (p *pod) leaves(c *container) bool { return c.drifted && p.host.onlyReports.Load() }

// tellDrift says that a container has drifted, and what follows.
func (p *pod) tellDrift(c *container) {
	what := "container " + c.spec.Name + " was killed by somebody else, and no commit asks for that"
	if p.taken[c.id] {
		what = "container " + c.spec.Name + " was taken away by somebody else, and no commit asks for that"
	}
	switch {
	case !c.restart:
		what += "; its restart policy is to leave it so"
	case p.leaves(c):
		what += leftAsItIs
	default:
		what += "; it is started again"
	}
	p.event(eventDrift, what, warning)
}

// watchDrift looks after the containers, and after the rules of the kernel, as far as runtime and router can, until ctx is done.
func (a *Agent) watchDrift(ctx context.Context) {
	rules, keepsRules := a.config.Router.(RuleKeeper)
	containers, keepsContainers := a.config.Runtime.(ContainerKeeper)
	var toldRules []string
	var toldContainers map[string]string
	for pause(ctx, untilBeat(time.Now(), driftEvery)) {
		a.look.want(everyPod)
		if keepsContainers {
			toldContainers = a.keepContainers(ctx, containers, toldContainers)
		}
		if keepsRules {
			toldRules = a.keepRules(ctx, rules, toldRules)
		}
	}
}

// keepRules looks whether somebody has changed the kernel's rules, and repairs them, unless drift is only to be reported. Told
// is what has been told of; what has been now is returned.
func (a *Agent) keepRules(ctx context.Context, keeper RuleKeeper, told []string) []string {
	found, err := keeper.Drift(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("whether the kernel's rules are as given is not known", "error", err)
		}
		return told
	}
	heals := !a.onlyReports.Load()
	if len(found) > 0 && !slices.Equal(found, told) {
		a.tellRules(found, heals)
	}
	if len(found) == 0 || !heals {
		return found
	}
	if err := keeper.Repair(ctx); err != nil && ctx.Err() == nil {
		a.log.Warn("the kernel's rules could not be repaired; it is tried again", "error", err)
	}
	return nil // should it come again, it is told again
}

// maxRules bounds how many of the rules that differ an event names.
const maxRules = 3

func (a *Agent) tellRules(found []string, heals bool) {
	what := "the kernel's rules were changed by somebody else: " + strings.Join(found[:min(len(found), maxRules)], ", ")
	if len(found) > maxRules {
		what += " and others"
	}
	if heals {
		what += "; they are repaired"
	} else {
		what += leftAsItIs
	}
	a.mu.Lock()
	commit := ""
	if a.assignment != nil {
		commit = a.assignment.Commit
	}
	a.mu.Unlock()
	a.event(eventDrift, api.Ref{Kind: "Node", Name: a.config.Info.Name}, what, commit, warning)
}
