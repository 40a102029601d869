package node

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// watchAssignment obeys assignments as they come, until ctx is done.
func (a *Agent) watchAssignment(ctx context.Context) {
	a.watch(ctx, "the assignment", func(ctx context.Context) error {
		return a.config.Bus.WatchAssignment(ctx, a.config.Info.Name, func(next api.Assignment) { a.obey(ctx, next) })
	})
}

// obey takes up an assignment, unless it is older than the one in force.
func (a *Agent) obey(ctx context.Context, next api.Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if refusal := a.refusal(next); refusal != "" {
		a.log.Warn("an assignment is refused", "reason", refusal, "term", next.Term, "sequence", next.Sequence)
		a.event("Refused", api.Ref{Kind: "Node", Name: a.config.Info.Name}, refusal, next.Commit, warning)
		return
	}
	if last := a.assignment; last == nil || last.Term != next.Term || last.Sequence < next.Sequence {
		next.Isolation = a.isolations.follow(next, func(uid string) bool { return a.pods[uid] != nil })
		a.takeIngress(last, &next)
		// Before it is obeyed: what a restarted agent obeys must not be older.
		if err := a.disk.write(assignmentFile, next, true); err != nil {
			a.log.Error("the assignment cannot be written: after a restart the one before it is in force", "error", err)
		}
		a.assignment = &next
		a.followDrift()
		a.reconcile(ctx)
		a.followClaims()
		a.metering.set()
	}
	// It is also sent again when the bus is back after it was away: then what failed to be fetched may be there.
	for _, p := range a.pods {
		p.deliver(func(in *inbox) { in.again = true })
	}
	a.status.set()
}

// refusal says why an assignment must not be obeyed; empty if it may.
func (a *Agent) refusal(next api.Assignment) string {
	last := a.assignment
	switch {
	case next.Node != a.config.Info.Name:
		return fmt.Sprintf("it is for node %q", next.Node)
	case last == nil:
		return ""
	case next.Term < last.Term:
		return fmt.Sprintf("its term %d is older than term %d, which is obeyed: it comes from a controller that leads no more", next.Term, last.Term)
	case next.Term == last.Term && next.Sequence < last.Sequence:
		return fmt.Sprintf("its sequence %d is older than %d, which is obeyed", next.Sequence, last.Sequence)
	}
	return ""
}

// reconcile starts the pods that are assigned and not there, and stops those that are there and not assigned. The agent
// is locked.
func (a *Agent) reconcile(ctx context.Context) {
	if a.assignment == nil {
		return
	}
	assigned := map[string]bool{}
	for _, placement := range a.assignment.Pods {
		assigned[placement.UID] = true
		if p := a.pods[placement.UID]; p != nil {
			p.place(placement)
			continue
		}
		if err := checkPlacement(placement); err != nil {
			a.log.Error("a placement is refused", "pod", placement.Pod, "error", err)
			a.event("Refused", placement.Pod, err.Error(), placement.Commit, warning)
			continue
		}
		p := a.newPod(record{Placement: placement})
		p.since = markOf(a.assignment)
		a.add(ctx, p)
		if placement.Exclusive() {
			a.guard.urge.set()
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(a.pods)) {
		if !assigned[uid] {
			a.pods[uid].stop("it is not assigned to this node any more", a.assignment.Commit)
		}
	}
}

// checkPlacement refuses what could not be kept on disk under its own name.
func checkPlacement(p api.Placement) error {
	for what, name := range map[string]string{"UID": p.UID, "template": string(p.Template)} {
		if !validName(name) {
			return fmt.Errorf("the placement's %s is %q: it must be able to be the name of a file", what, name)
		}
	}
	return nil
}

// place gives a pod its placement anew, which may say more than what it was adopted with.
func (p *pod) place(placement api.Placement) {
	p.mu.Lock()
	same := reflect.DeepEqual(p.status.Placement, placement)
	p.mu.Unlock()
	if !same {
		p.deliver(func(in *inbox) { in.placement = &placement })
	}
}

// add has a pod move. The agent is locked.
func (a *Agent) add(ctx context.Context, p *pod) {
	if a.spawn == nil {
		return
	}
	a.pods[p.uid] = p
	p.status = p.describe()
	p.inbox.shutdown = a.halted
	p.inbox.fence = a.guard.isLapsed() && p.status.Placement.Exclusive()
	a.status.set()
	a.spawn(func() {
		p.run(ctx)
		switch {
		case p.gone:
			a.forget(ctx, p)
		case p.renewed:
			a.renew(ctx, p)
		}
	})
}

// forget drops a pod that is gone, and begins it anew if it has been assigned again meanwhile.
func (a *Agent) forget(ctx context.Context, p *pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pods, p.uid)
	a.forgotten = a.look.number()
	a.log.Info("the pod is gone", "pod", p.record.Placement.Pod.String(), "uid", p.uid)
	a.status.set()
	a.reconcile(ctx)
	a.claims.leave(p.uid)
	a.followClaims()
	a.pruneBlobs()
	a.closeIfQuiet()
}

// followClaims does with the claims here what the assignment says, once it is known of every pod which it has: after a
// restart, pods are there before their templates are read. The agent is locked.
func (a *Agent) followClaims() {
	if a.assignment == nil {
		return
	}
	for _, p := range a.pods {
		p.mu.Lock()
		known := p.blobs != nil
		p.mu.Unlock()
		if !known {
			return
		}
	}
	deleted, err := a.claims.follow(*a.assignment)
	for _, released := range deleted {
		a.event("ClaimDeleted", released.Ref, released.Reason, released.Commit, normal)
		a.status.set()
	}
	if err != nil {
		a.log.Error("claims", "error", err)
	}
}

// closeIfQuiet tells who waits that no pod is left. The agent is locked.
func (a *Agent) closeIfQuiet() {
	if a.quiet != nil && len(a.pods) == 0 {
		close(a.quiet)
		a.quiet = nil
	}
}

// learnt notes that a pod knows now which content it uses, and makes up for the pruning that waited for that.
func (a *Agent) learnt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unpruned {
		a.pruneBlobs()
	}
	a.followClaims()
}

// spend notes that some content on disk may be used by no pod any more, for the next that is learnt of one.
func (a *Agent) spend() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unpruned = true
}

// pruneBlobs deletes the content that no pod uses, once it is known of every pod what it uses. The agent is locked.
func (a *Agent) pruneBlobs() {
	used := map[api.Digest]bool{}
	for _, p := range a.pods {
		p.mu.Lock()
		blobs, ending, template := p.blobs, p.status.Phase == api.PodStopping, p.status.Placement.Template
		p.mu.Unlock()
		if blobs == nil && !ending {
			a.unpruned = true
			return
		}
		used[template] = true
		for _, d := range blobs {
			used[d] = true
		}
	}
	for _, d := range a.ingressBlobs() {
		used[d] = true
	}
	a.unpruned = false
	if err := a.blobs.prune(used); err != nil {
		a.log.Warn("content that no pod uses stays on disk", "error", err)
	}
}

// find gives the newest pod of that ref.
func (a *Agent) find(ref api.Ref) (*pod, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var best *pod
	for _, uid := range slices.Sorted(maps.Keys(a.pods)) {
		p := a.pods[uid]
		p.mu.Lock()
		status := p.status
		p.mu.Unlock()
		if status.Placement.Pod != ref {
			continue
		}
		if best == nil || status.Phase != api.PodStopping {
			best = p
		}
	}
	return best, best != nil
}

// names are the pods of the node, for a person who named one that is not there.
func (a *Agent) names() string {
	var names []string
	for _, p := range a.nodeStatus().Pods {
		names = append(names, p.Placement.Pod.Namespace+"/"+p.Placement.Pod.Name)
	}
	return strings.Join(names, ", ")
}
