package controller

import (
	"slices"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
)

// reconcile makes one pass: what should be, given all that is known, against what the bus holds. The effects are the
// difference: carrying them out and reconciling again gives none, and after a failure the next pass gives them again.
func (s *state) reconcile(now time.Time) effects {
	s.promote(now)
	s.expireLeases(now)
	s.expireTenures(now)
	s.unseen, s.untold = s.whatIsUnseen(now), s.whatIsUntold()
	s.tenures = s.tenuresDue(now)
	s.waiting, s.settles = "", time.Time{}
	if !s.planned {
		s.waiting = s.notYet(now)
		if settled := s.newcomer.Add(s.settle); s.fresh && now.Before(settled) {
			s.settles = settled
		}
	}
	if s.desired.known && s.waiting == "" {
		s.adopt()
		// A pod that ends before its node ever learnt of it makes way for others at once.
		for again := true; again; {
			s.plan(now)
			again = s.forget()
		}
		s.renewPulls()
		s.planned = true
	}
	e := s.effects()
	e.reverts = s.orderReverts(now)
	return e
}

// plan decides what each node runs and which routes there are.
func (s *state) plan(now time.Time) {
	s.forget()
	pods := s.sortedPods()
	kept := s.unique(pods, now)
	for _, p := range pods {
		if p.phase() == api.PodStopping {
			s.stop(p, stop{kind: "Stopped", reason: "its node is ending it"}, now)
		}
	}
	plan := planner.Compute(s.input(kept, now))
	s.stopPlanned(plan, kept, now)
	s.place(plan, pods, now)
	s.provide(plan, pods)
	s.finishStops(pods, now)
	s.routes.want(plan.Routes, leaving(pods))
	before := s.workloads
	s.workloads, s.problems, s.planWake = plan.Workloads, plan.Problems, plan.Wake
	s.tellRollouts(now, before)
	s.deletions, s.claims, s.released = plan.Deletions, plan.Claims, plan.Released
	s.noteScales(plan.Scales, now)
	s.ingress.forgot = s.ingress.forgot || s.inForce == nil
	s.enforce(plan.Kept)
	s.updateInPlace(plan, kept, now)
	s.sealAnew(plan, kept, now)
	s.isolate(s.sortedPods())
	s.wantIngress(plan.Ingress)
	s.keepJobs(plan.Jobs)
	if head := s.desired.head; s.desired.whole && s.deployed.Commit != head.Commit {
		s.event(api.Event{Time: now, Kind: "Deployed", Reason: "the commit is in force: " + firstLine(head.Message), Commit: head.Commit})
	}
	if s.desired.whole {
		s.deployed = s.desired.head
	}
}

// forget drops the pods that are over. It reports whether there were any.
func (s *state) forget() (some bool) {
	for _, n := range s.nodes {
		some = n.forget() || some
	}
	return some
}

// input is what the plan depends on.
func (s *state) input(pods []*pod, now time.Time) planner.Input {
	in := planner.Input{
		Revision: s.desired.head, Desired: s.desired.objects, Prune: s.desired.mayPrune(), Nodes: s.plannable(),
		Routes: s.routes.list(), ServiceCIDR: s.serviceCIDR, Rollouts: s.workloads, Templates: s.templates,
		Deployed: s.inForce, Scales: s.scales, Claims: s.heldClaims(),
		Jobs: s.knownJobs(), Usage: s.usage(pods, now), ScalePeriod: s.scalePeriod, Unseen: s.unseen, Untold: s.untold, Now: now,
	}
	for _, p := range pods {
		in.Pods = append(in.Pods, s.observed(p))
	}
	return in
}

// enforce notes what is in force from now on: what Git wants, and what the plan keeps though Git has dropped it.
func (s *state) enforce(kept []api.Object) {
	same := s.enforced == s.desired.generation && slices.EqualFunc(kept, s.kept, func(a, b api.Object) bool { return a.Ref == b.Ref })
	if same && s.inForce != nil {
		return
	}
	s.enforced, s.kept = s.desired.generation, kept
	s.inForce = fillIn(s.desired.objects, kept)
	s.version++
	s.observeSecrets()
}

// stopPlanned begins to stop the pods that the plan wants stopped.
func (s *state) stopPlanned(plan planner.Plan, pods []*pod, now time.Time) {
	byUID := make(map[string]*pod, len(pods))
	for _, p := range pods {
		byUID[p.placement.UID] = p
	}
	for _, a := range plan.Actions {
		p, ok := byUID[a.Pod.UID]
		if a.Kind != planner.StopPod || !ok {
			continue
		}
		kind := "Stopped"
		if a.Class == planner.ClassPruned {
			kind = "Pruned"
		}
		s.stop(p, stop{kind: kind, reason: a.Reason, commit: a.Commit}, now)
	}
}

// leaving tells the pods that must not be in the routes: all that are known and not meant to run.
func leaving(pods []*pod) func(podKey) bool {
	going := map[podKey]bool{}
	for _, p := range pods {
		if !p.runs() {
			going[p.key()] = true
		}
	}
	return func(key podKey) bool { return going[key] }
}
