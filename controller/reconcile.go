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
		s.provideTemplates()
		s.planned = true
	}
	e := s.effects()
	e.reverts = s.orderReverts(now)
	return e
}

// plan decides what each node runs and which routes there are.
func (s *state) plan(now time.Time) {
	s.forget()
	s.look(now)
	plan := s.pods.keeper.Plan(s.input(now))
	s.stopPlanned(plan, now)
	s.place(plan, now)
	s.provide(plan)
	s.finishStops(now)
	s.routes.want(plan.Routes, s.leaving())
	before := s.workloads
	s.workloads, s.problems, s.planWake = plan.Workloads, plan.Problems, plan.Wake
	s.tellRollouts(now, before)
	s.pods.unswept = s.pods.unswept || !slices.EqualFunc(before, s.workloads, func(a, b api.WorkloadStatus) bool { return a.Stable == b.Stable })
	s.deletions, s.claims, s.released = plan.Deletions, plan.Claims, plan.Released
	s.noteScales(plan.Scales, now)
	s.ingress.forgot = s.ingress.forgot || s.inForce == nil
	s.enforce(plan.Kept)
	s.updateInPlace(plan, now)
	s.sealAnew(plan, now)
	s.isolate()
	s.wantIngress(plan.Ingress)
	s.keepJobs(plan.Jobs)
	if head := s.desired.head; s.desired.whole && s.deployed.Commit != head.Commit {
		s.event(api.Event{Time: now, Kind: "Deployed", Reason: "the commit is in force: " + firstLine(head.Message), Commit: head.Commit})
	}
	if s.desired.whole {
		s.deployed = s.desired.head
	}
}

// input is what the plan depends on, but for the pods.
func (s *state) input(now time.Time) planner.Input {
	return planner.Input{
		Revision: s.desired.head, Desired: s.desired.objects, Prune: s.desired.mayPrune(), Nodes: s.plannable(),
		Routes: s.routes.list(), ServiceCIDR: s.serviceCIDR, Rollouts: s.workloads, Templates: s.templates,
		Deployed: s.inForce, Scales: s.scales, Claims: s.heldClaims(),
		Jobs: s.knownJobs(), Usage: s.usage(now), ScalePeriod: s.scalePeriod, Unseen: s.unseen, Untold: s.untold, Now: now,
	}
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
func (s *state) stopPlanned(plan planner.Plan, now time.Time) {
	for _, a := range plan.Actions {
		p := s.pods.get(a.Pod.UID)
		if a.Kind != planner.StopPod || p == nil {
			continue
		}
		kind := "Stopped"
		if a.Class == planner.ClassPruned {
			kind = "Pruned"
		}
		s.stop(p, stop{kind: kind, reason: a.Reason, commit: a.Commit}, now)
	}
}

// leaving are the pods that must not be in the routes: all that are known and not meant to run.
func (s *state) leaving() map[podKey]bool {
	going := map[podKey]bool{}
	for _, n := range s.nodes {
		for _, p := range n.census.idle {
			if !p.runs() {
				going[p.key()] = true
			}
		}
	}
	return going
}
