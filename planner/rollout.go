package planner

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// A rollout is one workload in one pass: its limits, its pods by class, and what is said of it.
type rollout struct {
	*pass
	owner    api.Ref
	template Template // the one to run
	// digest is of the template that Git wants; back says why that is not the one to run.
	digest api.Digest
	back   string
	// name names the pod of a slot and incarnation, where pods are not named by their identity alone.
	name string

	replicas    int
	surge       int           // pods above replicas while rolling
	unavailable int           // pods below replicas while rolling
	minReady    time.Duration // until a ready pod is available
	deadline    time.Duration // without progress, until the rollout is stalled; 0 is never
	mayEnd      bool          // a pod of the wanted template that ended is not replaced
	// beyond tells the pods whose identity is not wanted; nil where pods are wanted by number and not by identity.
	beyond func(*Pod) bool
	// exempt tells the pods that may keep another template; nil is none.
	exempt func(*Pod) bool
	// exclusive keeps two pods of one identity from ever running at once: a lost one stands in the way until it is fenced.
	exclusive bool
	// recreates has all pods go before any comes, which no budget of disruption could let happen: Git says that they may.
	recreates bool
	// resident pods belong to their node, and stay while it is drained.
	resident bool
	// held says why no pod may change its template: the author paused it, or it cannot be made. blocked is the latter.
	held    string
	blocked bool
	// canary is nil where the template changes without steps.
	canary *canary
	// waits says what has to be healthy first; it holds the rollout, too.
	waits string

	pods     []*Pod // all observed of the workload, the best first
	live     []*Pod // those that count for it, the best first
	of       map[Class][]*Pod
	resting  map[*Pod]bool         // ended, and not to be replaced yet
	told     map[api.Digest]string // what the wanted template changes, by the other
	previous *api.WorkloadStatus   // what the last plan said; nil is nothing
	status   api.WorkloadStatus
	exempted int // live pods of another template that may keep it
}

// newRollout looks at the pods of a workload.
func (p *pass) newRollout(w workload, r rollout) *rollout {
	r.pass = p
	r.owner = w.Ref
	r.template = w.template
	r.pods = slices.Clone(p.seen.of(w.Ref))
	r.of = map[Class][]*Pod{}
	r.resting = map[*Pod]bool{}
	r.told = map[api.Digest]string{}
	r.previous = p.previous[w.Ref]
	if w.err != nil { // nothing is wanted but what was before
		r.held, r.blocked = w.err.Error(), true
		if !w.told {
			p.problem(w.Ref, w.Source, "spec", w.err.Error())
		}
		r.template = Template{}
		if r.previous != nil {
			r.template.Digest = r.previous.Template
		}
	}
	r.digest = r.template.Digest
	if w.err == nil {
		r.retreat(&w)
	}
	if r.waits = p.gate(w.Ref, r.digest); r.waits != "" && r.held == "" {
		r.held = r.waits
	}
	r.classify()
	for _, pod := range r.live {
		if pod.Template == r.template.Digest && pod.wantsTemplate() {
			maps.Copy(p.plan.Blobs, r.template.Blobs)
		}
		if pod.Ready && !r.available(pod) {
			p.wakeAt(pod.ReadySince.Add(r.minReady))
		}
	}
	r.report()
	return &r
}

// available reports whether the pod has been ready for long enough to be relied on.
func (r *rollout) available(pod *Pod) bool {
	return isLive(pod) && pod.Ready && r.passed(pod.ReadySince.Add(r.minReady))
}

func (r *rollout) countAvailable(pods []*Pod) int {
	n := 0
	for _, pod := range pods {
		if r.available(pod) {
			n++
		}
	}
	return n
}

// outdated reports whether the pod has another template than it should have.
func (r *rollout) outdated(pod *Pod) bool {
	return pod.Template != r.template.Digest && (r.exempt == nil || !r.exempt(pod))
}

// drained reports whether the pod is to leave its node.
func (r *rollout) drained(pod *Pod) bool { return !r.resident && r.draining[pod.Node] }

// stopSurplus stops pods beyond the number that may run.
func (r *rollout) stopSurplus(pods []*Pod, reason string) {
	for _, pod := range pods {
		r.stop(pod, ClassSurplus, reason)
	}
}

// stopOutdated stops pods of other templates, and those on nodes that are being drained, as far as the budgets of disruption
// allow. It gives their number.
func (r *rollout) stopOutdated(pods []*Pod) int {
	n := 0
	failed := r.status.Failure != nil && r.countAvailable(r.of[ClassKeep]) < len(r.of[ClassKeep])
	for _, pod := range slices.Backward(pods) { // the worst first, should not all be let go
		if r.stopped[pod] || failed && r.available(pod) && !r.drained(pod) { // the last good pods keep serving
			continue
		}
		if used, ok := r.disrupt(pod); !ok && !r.recreates {
			r.waitsForBudget(r.owner, used)
			continue
		}
		reason := fmt.Sprintf("node %s is being drained", pod.Node)
		if !r.drained(pod) {
			reason = r.changeFrom(pod.Template)
		}
		r.stop(pod, ClassOutdated, reason)
		n++
	}
	return n
}

// stopGone stops what counts no more: the pods that were lost, and those that ended.
func (r *rollout) stopGone() {
	for _, pod := range r.of[ClassLost] {
		if r.exclusive && !pod.Fenced {
			continue // it may well run on, and may come back as it was
		}
		r.stop(pod, ClassLost, fmt.Sprintf("lost with node %s, which has been silent past its lease", pod.Node))
	}
	r.stopEnded()
}

// fill creates n pods of the template, in the lowest slots that no live pod has, without those whose places are kept for pods
// that rest.
func (r *rollout) fill(n int, template Template) {
	if n <= 0 {
		return
	}
	taken := map[int]bool{}
	last := map[int]*Pod{}
	for _, pod := range r.pods {
		if pod.Template != template.Digest {
			continue
		}
		if isLive(pod) && !r.stopped[pod] {
			taken[pod.Slot] = true
		}
		if r.resting[pod] && !taken[pod.Slot] {
			taken[pod.Slot] = true
			n--
		}
		if l := last[pod.Slot]; l == nil || pod.Incarnation > l.Incarnation {
			last[pod.Slot] = pod
		}
	}
	for slot := 0; n > 0; slot++ {
		if taken[slot] {
			continue
		}
		incarnation := 0
		if last[slot] != nil {
			incarnation = last[slot].Incarnation + 1
		} else if r.name != "" {
			incarnation = r.status.Replaced
		}
		id := identify(r.owner, template.Digest, slot, incarnation)
		if r.name != "" {
			id.Pod.Name = r.name
		}
		reason := r.creationReason(last[slot])
		if r.held == "" && last[slot] != nil && template.Digest != r.template.Digest {
			reason = "replaces " + last[slot].Pod.Name + ", whose template stays for now"
		}
		r.create(id, template, reason)
		n--
	}
}

// hold keeps the number of pods and changes none to another template: it replaces what is gone, and scales.
func (r *rollout) hold() {
	limit := r.replicas
	best := r.live[:min(len(r.live), r.replicas+r.surge)]
	if slices.ContainsFunc(best, func(pod *Pod) bool { return pod.Template != best[0].Template }) {
		limit += r.surge // it was held half-way, where more are allowed
	}
	if len(r.live) > limit {
		r.stopSurplus(r.live[limit:], r.surplusReason())
	}
	if template, known := r.heldTemplate(); known {
		r.fill(r.replicas-min(len(r.live), limit)+r.leaveDrained(r.live), template)
	}
}

// leaveDrained stops those of the pods that are on nodes that are being drained, as far as enough others are available. It
// gives their number.
func (r *rollout) leaveDrained(pods []*Pod) int {
	gone := 0
	spare := r.countAvailable(pods) - max(0, r.replicas-max(1, r.unavailable))
	for _, pod := range slices.Backward(pods) {
		switch {
		case !r.drained(pod) || r.stopped[pod]:
		case !r.available(pod):
			gone += r.stopOutdated([]*Pod{pod})
		case spare > 0:
			spare--
			gone += r.stopOutdated([]*Pod{pod})
		}
	}
	return gone
}

// heldTemplate is the template that a held rollout makes its pods of, which is the one that most of them have. It is not
// known when nothing has been made so far, or its content is not at hand.
func (r *rollout) heldTemplate() (Template, bool) {
	type count struct{ live, all int }
	counts := map[api.Digest]count{}
	for _, pod := range r.pods {
		c := counts[pod.Template]
		c.all++
		if isLive(pod) && !r.stopped[pod] {
			c.live++
		}
		counts[pod.Template] = c
	}
	wanted := func(digest api.Digest) int {
		if digest == r.template.Digest {
			return 1
		}
		return 0
	}
	var most api.Digest
	for digest, c := range counts {
		if most == "" || cmp.Or(
			cmp.Compare(c.live, counts[most].live),
			cmp.Compare(c.all, counts[most].all),
			cmp.Compare(wanted(digest), wanted(most)),
			cmp.Compare(digest, most),
		) > 0 {
			most = digest
		}
	}
	if most == r.template.Digest && !r.blocked {
		return r.template, true
	}
	return r.restore(most)
}

// restore gives a template of which pods run or ran, as far as its content is at hand.
func (p *pass) restore(digest api.Digest) (Template, bool) {
	content := p.templateAt(digest)
	if content == nil {
		return Template{}, false
	}
	t := Template{Pod: content, Blobs: map[api.Digest][]byte{}} // its config maps are where the pods that run have them from
	var err error
	t.Digest, err = t.add(content)
	return t, err == nil && t.Digest == digest
}
