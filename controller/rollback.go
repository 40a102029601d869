package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/sync/history"
)

// ErrNotUndone is the error of a Reverter for what it will never be able to undo: a person has to.
var ErrNotUndone = errors.New("the commit cannot be taken back")

// The trailers of a commit that the controller makes because a rollout failed.
const (
	trailerReverts = "Headway-Reverts" // the commit that it takes back
	trailerFailed  = "Headway-Failed"  // a workload that failed by it
)

// A revert is the taking back, in Git, of a commit by which a rollout failed.
type revert struct {
	commit string
	asked  bool      // it is being made
	ended  bool      // it is made, or never will be
	again  time.Time // when to ask again, after a failure
	wait   backoff
}

// A revertOrder is a revert to be made.
type revertOrder struct{ commit, message string }

// A reverted is what came of an order.
type reverted struct {
	commit string
	made   api.Revision
	err    error
}

// orderReverts asks for the reverts of commits by which rollouts have failed, where Git says that failures are reverted. Soon
// after a leader has begun it waits: what it knows of rollouts may be old.
func (s *state) orderReverts(now time.Time) []revertOrder {
	inForce, _ := settingsOf(s.desired.objects)
	failed := map[string][]api.WorkloadStatus{}
	var commits []string
	for _, w := range s.workloads {
		if w.Failure == nil || w.Failure.Commit == "" {
			continue
		}
		if failed[w.Failure.Commit] == nil {
			commits = append(commits, w.Failure.Commit)
		}
		failed[w.Failure.Commit] = append(failed[w.Failure.Commit], w)
	}
	for commit, r := range s.reverts {
		if failed[commit] == nil && !r.asked {
			delete(s.reverts, commit) // it came round, or another commit mended it
		}
	}
	if inForce.spec.Rollback != api.RollbackRevert {
		maps.DeleteFunc(s.reverts, func(_ string, r *revert) bool { return !r.asked && !r.ended }) // nobody waits for them any more
		return nil
	}
	var orders []revertOrder
	for _, commit := range commits {
		r := s.reverts[commit]
		if r == nil {
			r = &revert{commit: commit, again: s.started.Add(s.revertGrace)}
			s.reverts[commit] = r
		}
		if !r.asked && !r.ended && !now.Before(r.again) {
			r.asked = true
			orders = append(orders, revertOrder{commit, revertMessage(commit, failed[commit])})
		}
	}
	return orders
}

// postpone takes back an order that nobody has the time for now.
func (s *state) postpone(order revertOrder, now time.Time) {
	r := s.reverts[order.commit]
	r.asked, r.again = false, now.Add(s.revertGrace)
}

// observeReverted takes in what came of an order.
func (s *state) observeReverted(m reverted, now time.Time) {
	r := s.reverts[m.commit]
	if r == nil {
		return
	}
	r.asked = false
	e := api.Event{Time: now, Kind: "Reverted", Commit: m.commit}
	switch {
	case errors.Is(m.err, ErrNotUndone):
		r.ended = true
		e.Kind, e.Warning, e.Reason = "RevertFailed", true, m.err.Error()+": what was good goes on serving; mend it by a commit"
	case m.err != nil:
		r.again = now.Add(s.revertGrace + r.wait.next())
		e.Kind, e.Warning, e.Reason = "RevertFailed", true, m.err.Error()+": it is tried again"
	default:
		r.ended = true
		e.Reason = fmt.Sprintf("commit %s on %s takes it back, because its rollout failed", m.made.Short(), m.made.Branch)
		if branch := s.head().Branch; branch != "" && m.made.Branch != branch {
			e.Kind, e.Warning = "RevertProposed", true
			e.Reason += "; the branch itself may not be pushed to: merge it"
			break
		}
		s.quarantined[m.commit] = true
	}
	s.event(e)
}

// learnReverts takes in what the newest commit takes back, as far as it says so: the leader that had it made may have died before
// it could report that.
func (s *state) learnReverts(c compiled) {
	for _, a := range append([]compiled{c}, c.ancestors...) {
		for _, commit := range history.ParseMessage(a.head.Message).Values(trailerReverts) {
			s.quarantined[commit] = true
		}
	}
}

// revertMessage tells people and auditors why a commit is taken back.
func revertMessage(commit string, failed []api.WorkloadStatus) string {
	var out strings.Builder
	for _, w := range failed {
		fmt.Fprintf(&out, "%s: %s\n", w.Ref, w.Failure.Reason)
		for _, e := range w.Failure.Evidence {
			fmt.Fprintf(&out, "- %s\n", describeEvidence(e))
		}
	}
	fmt.Fprintf(&out, "\n%s: %s\n", trailerReverts, commit)
	for _, w := range failed {
		fmt.Fprintf(&out, "%s: %s\n", trailerFailed, w.Ref)
	}
	return out.String()
}

func describeEvidence(e api.PodEvidence) string {
	s := e.Pod.Name
	if e.Node != "" {
		s += " on " + e.Node
	}
	if e.Container != "" {
		s += ", container " + e.Container
	}
	for _, part := range []string{e.Reason, e.Message} {
		if part != "" {
			s += ": " + strings.Join(strings.Fields(part), " ")
		}
	}
	if e.ExitCode != 0 || e.Restarts > 0 {
		s += fmt.Sprintf(" (exit code %d, %d restarts)", e.ExitCode, e.Restarts)
	}
	return s
}

// revertAll makes the reverts that are ordered, one after the other and apart from the loop, until ctx is done.
func (l *leader) revertAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case order := <-l.orders:
			made, err := l.config.Reverter.Undo(ctx, order.commit, order.message)
			l.inbox.reverted(reverted{order.commit, made, err})
		}
	}
}
