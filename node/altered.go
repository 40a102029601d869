package node

import (
	"context"
	"slices"

	"headway.dev/headway/api"
)

// A ContainerKeeper is a Runtime that can tell whether others have changed a container that runs.
type ContainerKeeper interface {
	// Altered says what of a running container is otherwise than it was made as, as the predicate of a sentence for a person:
	// "is frozen". Empty is nothing; one that has ended or is gone has nothing either. It changes nothing.
	Altered(ctx context.Context, id string) (string, error)
	// Restore makes a running container again what it was made as.
	Restore(ctx context.Context, id string) error
}

// A runningContainer is one that is looked after, with its pod and the commit that placed it.
type runningContainer struct {
	id, name string
	pod      api.Ref
	commit   string
}

// running gives the containers that run, by the newest statuses, but those of pods that end.
func (a *Agent) running() []runningContainer {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []runningContainer
	for _, p := range a.pods {
		p.mu.Lock()
		status := p.status
		p.mu.Unlock()
		if status.Phase == api.PodStopping {
			continue
		}
		for _, c := range slices.Concat(status.InitContainers, status.Containers) {
			if c.State == stateRunning {
				all = append(all, runningContainer{c.ID, c.Name, status.Placement.Pod, status.Placement.Commit})
			}
		}
	}
	return all
}

// keepContainers looks whether somebody has changed containers that run, and makes them what they were, unless drift is only to
// be reported. Told is what is known of those that are changed, by ID; the new state of it is returned.
func (a *Agent) keepContainers(ctx context.Context, keeper ContainerKeeper, told map[string]string) map[string]string {
	heals := !a.onlyReports.Load()
	now := map[string]string{}
	for _, c := range a.running() {
		what, err := keeper.Altered(ctx, c.id)
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("whether a container is as it was made is not known", "container", c.id, "error", err)
			}
			continue
		}
		if what == "" {
			continue
		}
		now[c.id] = what
		if told[c.id] != what {
			a.tellAltered(c, what, heals)
		}
		if !heals {
			continue
		}
		if err := keeper.Restore(ctx, c.id); err != nil && ctx.Err() == nil {
			a.log.Warn("a container could not be made what it was; it is tried again", "container", c.id, "error", err)
		}
	}
	return now
}

// tellAltered says how the container has drifted, and what follows.
func (a *Agent) tellAltered(c runningContainer, what string, heals bool) {
	text := "container " + c.name + " " + what + ", by somebody else's doing, and no commit asks for that"
	if heals {
		text += "; it is made what it was"
	} else {
		text += leftAsItIs
	}
	a.event(eventDrift, c.pod, text, c.commit, warning)
}
