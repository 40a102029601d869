package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"headway.dev/headway/api"
)

// A canary changes a Deployment's template in steps: each has a share of the pods and of the connections on the new one, and is
// looked at for a time, or until a commit promotes it. Within a step the limits of the rolling update hold, and so does what
// stops one that fails: no step is reached by pods that are not available.
type canary struct {
	api.Canary
	promotion api.Promotion
}

// canaryOf reads the annotations. What cannot be read, which the compiler lets nothing be, asks for no steps.
func canaryOf(d *appsv1.Deployment) *canary {
	text, ok := d.Annotations[api.RolloutAnnotation]
	if !ok || d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return nil
	}
	steps, err := api.ParseCanary(text)
	if err != nil {
		return nil
	}
	c := &canary{Canary: steps}
	if text, ok := d.Annotations[api.PromoteAnnotation]; ok {
		if p, err := api.ParsePromotion(text); err == nil {
			c.promotion = p
		}
	}
	return c
}

// steps takes a rollout in steps as far as it may go now. It is over, or has none, where no pod of another template is left, or
// the template has been in place as a whole: what was good once comes back at once.
func (r *rollout) steps() {
	s := &r.status
	if r.isBlueGreen() {
		r.switchOver()
		return
	}
	if r.canary == nil || r.blocked || r.back != "" || !s.Completed.IsZero() || r.countOther() == 0 || s.Stable == s.Template {
		return
	}
	s.Canary = r.resumeCanary()
	now := s.Canary
	if now.Step > len(r.canary.Steps) {
		return
	}
	kept := r.of[ClassKeep]
	if now.Reached.IsZero() && len(kept) >= r.stepPods() && r.countAvailable(kept) == len(kept) {
		now.Reached = r.now()
		now.Reason = r.describeStep()
	}
	if !now.Reached.IsZero() && r.held == "" {
		if why := r.liftsStep(); why != "" {
			*now = api.CanaryStatus{Step: now.Step + 1}
			now.Reason = r.describeNext(why)
		}
	}
	now.Weight = r.stepWeight()
	if !now.Reached.IsZero() {
		s.Progressed = r.now() // it waits as it was asked to
	}
}

// resumeCanary goes on where the last plan was. Where nothing is known of it, as many pods as run the template tell.
func (r *rollout) resumeCanary() *api.CanaryStatus {
	if before := r.previous; before != nil && before.Template == r.status.Template && before.Canary != nil {
		c := *before.Canary
		return &c
	}
	c := &api.CanaryStatus{Step: 1}
	for c.Step < len(r.canary.Steps) && r.status.Updated >= share(r.canary.Steps[c.Step].Weight, r.replicas) {
		c.Step++
	}
	c.Reason = r.describeBegin(c.Step)
	return c
}

// liftsStep says why the step that is reached is over: its time is, or a commit promotes it. Empty is that it is not.
func (r *rollout) liftsStep() string {
	c := r.status.Canary
	if r.canary.promotion.Lifts(r.status.Commit, c.Step) {
		return fmt.Sprintf("%s: %s ends step %d", api.PromoteAnnotation, r.canary.promotion, c.Step)
	}
	pause := r.canary.Steps[c.Step-1].Pause
	switch pause {
	case api.UntilPromoted:
		return ""
	case 0:
		return "they are available"
	}
	end := c.Reached.Add(pause)
	r.wakeAt(end)
	if !r.passed(end) {
		return ""
	}
	return fmt.Sprintf("the %s of step %d are over", pause, c.Step)
}

// onStep reports whether the rollout is at one of its steps.
func (r *rollout) onStep() bool {
	return r.status.Canary != nil && r.status.Canary.Step <= len(r.canary.Steps)
}

// stepPods is how many pods have the new template at the present step.
func (r *rollout) stepPods() int {
	if !r.onStep() {
		return r.replicas
	}
	return share(r.canary.Steps[r.status.Canary.Step-1].Weight, r.replicas)
}

// stepWeight is the share of connections for the new pods: that of the step before until enough of them are available.
func (r *rollout) stepWeight() api.Percent {
	c := r.status.Canary
	switch {
	case !r.onStep():
		return 0
	case c.Step > 1 && c.Reached.IsZero():
		return r.canary.Steps[c.Step-2].Weight
	}
	return r.canary.Steps[c.Step-1].Weight
}

// stayOld is how many pods of other templates the step leaves: the rest of the replicas, and one at least where the limits
// let it stand beside the new ones, or else a step of few pods would be the whole.
func (r *rollout) stayOld() int {
	if !r.onStep() {
		return 0
	}
	n := r.stepPods()
	return max(r.replicas-n, min(1, r.replicas+r.surge-n))
}

// goodFirst has pods of a template that was given up on the way go before those of the last good one, among those equally
// available.
func (r *rollout) goodFirst(old []*Pod) {
	if !r.onStep() {
		return
	}
	rank := func(pod *Pod) int {
		switch {
		case !r.available(pod):
			return 2
		case pod.Template != r.status.Stable:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(old, func(a, b *Pod) int { return cmp.Compare(rank(a), rank(b)) })
}

// fillOld replaces pods of the template before that are gone, as far as its content is at hand.
func (r *rollout) fillOld(n int) {
	if old := r.of[ClassOutdated]; n > 0 && len(old) > 0 {
		if template, known := r.restore(old[0].Template); known {
			r.fill(n, template)
		}
	}
}

// countOther counts the live pods of other templates than the wanted one.
func (r *rollout) countOther() int {
	n := 0
	for _, pod := range r.live {
		if pod.Template != r.template.Digest {
			n++
		}
	}
	return n
}

// describeBegin names a step that begins.
func (r *rollout) describeBegin(step int) string {
	if r.canary.BlueGreen {
		return "step 1 of 1, beside the old pods and without connections"
	}
	return fmt.Sprintf("step %d of %d, %s", step, len(r.canary.Steps), r.canary.Steps[step-1].Weight)
}

// describeNext says what follows on a step, and why.
func (r *rollout) describeNext(why string) string {
	if r.canary.BlueGreen {
		return "all connections go to the new pods and the old ones end, since " + why
	}
	if next := r.status.Canary.Step; next <= len(r.canary.Steps) {
		return r.describeBegin(next) + ", since " + why
	}
	return "all steps are done, since " + why + ": the rest follows"
}

// describeStep says where a rollout in steps is, and what the next step waits for.
func (r *rollout) describeStep() string {
	c := r.status.Canary
	step := r.canary.Steps[c.Step-1]
	s := r.describeBegin(c.Step)
	switch {
	case c.Reached.IsZero() || step.Pause == 0:
		return s
	case step.Pause != api.UntilPromoted:
		return s + ", until " + c.Reached.Add(step.Pause).UTC().Format(time.RFC3339)
	}
	return s + fmt.Sprintf(", until a commit sets %s to %s/%d", api.PromoteAnnotation, api.ShortCommit(r.status.Commit), c.Step)
}

// share is a percentage of pods, rounded up.
func share(p api.Percent, replicas int) int { return min(replicas, (int(p)*replicas+99)/100) }

// weigh gives the endpoints of services that lead to a canary their weights: the new pods of each have their share of what goes
// to all of its pods, and those of others keep theirs. pods are those that the endpoints are.
func (p *pass) weigh(endpoints []api.Endpoint, pods []*Pod) {
	if len(p.canaries) == 0 {
		return
	}
	type split struct{ fresh, old []int }
	splits := map[api.Ref]*split{}
	for i, pod := range pods {
		c, ok := p.canaries[pod.Owner]
		if !ok {
			continue
		}
		s := splits[pod.Owner]
		if s == nil {
			s = &split{}
			splits[pod.Owner] = s
		}
		if pod.Template == c.template {
			s.fresh = append(s.fresh, i)
		} else {
			s.old = append(s.old, i)
		}
	}
	for owner, s := range splits {
		if len(s.fresh) == 0 || len(s.old) == 0 {
			continue
		}
		all, weight := len(s.fresh)+len(s.old), int(p.canaries[owner].weight)
		for _, side := range []struct {
			of      []int
			percent int
		}{{s.fresh, weight}, {s.old, 100 - weight}} {
			for _, i := range side.of {
				endpoints[i].Weight = int32((api.EvenWeight*all*side.percent + 50*len(side.of)) / (100 * len(side.of)))
			}
		}
	}
}

// A weighing is what the endpoints of a canary get.
type weighing struct {
	template api.Digest
	weight   api.Percent
}

// noteCanary has services weigh the rollout's pods.
func (r *rollout) noteCanary() {
	if c := r.status.Canary; c != nil && c.Weight > 0 {
		r.canaries[r.owner] = weighing{r.template.Digest, c.Weight}
	}
}
