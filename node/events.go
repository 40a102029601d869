package node

import (
	"context"
	"time"

	"headway.dev/headway/api"
)

// A severity says whether an event is one to look at.
type severity bool

const (
	normal  severity = false
	warning severity = true
)

// maxEvents bounds those that wait for the bus; more are only logged.
const maxEvents = 512

// event says what happened to what, and why.
func (a *Agent) event(kind string, ref api.Ref, reason, commit string, s severity) {
	e := api.Event{
		Time: time.Now(), Origin: "node/" + a.config.Info.Name, Kind: kind, Ref: ref, Reason: reason, Commit: commit,
		Warning: bool(s),
	}
	a.log.Info(kind, "ref", ref.String(), "reason", reason, "commit", api.ShortCommit(commit))
	select {
	case a.events <- e:
	default:
		a.log.Warn("an event is not published: too many wait for the bus", "kind", kind, "ref", ref.String())
	}
}

// event says what happened to the pod.
func (p *pod) event(kind, reason string, s severity) {
	p.host.event(kind, p.record.Placement.Pod, reason, p.commit, s)
}

// publishEvents publishes events in order, until ctx is done. One that cannot be published is dropped: it is in the log.
func (a *Agent) publishEvents(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-a.events:
			if err := a.config.Bus.PublishEvent(ctx, e); err != nil && ctx.Err() == nil {
				a.log.Warn("an event is not published", "kind", e.Kind, "ref", e.Ref.String(), "error", err)
			}
		}
	}
}
