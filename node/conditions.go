package node

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// noteConditions keeps the pod's conditions, with the time at which each last changed.
func (p *pod) noteConditions(s api.PodStatus) {
	ended, reason := s.Phase == api.PodSucceeded || s.Phase == api.PodFailed, ""
	message := s.Message
	switch {
	case s.Phase == api.PodSucceeded:
		reason = "PodCompleted"
	case s.Phase == api.PodFailed:
		reason = "PodFailed"
	case !s.Ready:
		reason = reasonNotReady
	}
	if s.Ready {
		message = ""
	}
	// What was initialized stays so, whatever becomes of the pod; but not over a restart of the machine.
	initialized := api.PodCondition{Type: corev1.PodInitialized, True: !p.record.Initialized.IsZero(), Since: p.record.Initialized}
	if !initialized.True && p.template != nil && !ended {
		initialized.Reason = "ContainersNotInitialized"
	}
	p.record.Conditions = slices.Clone(p.record.Conditions)
	for _, c := range []api.PodCondition{
		{Type: corev1.PodScheduled, True: true, Since: p.record.Created},
		initialized,
		{Type: corev1.ContainersReady, True: s.Ready, Since: s.ReadySince, Reason: reason, Message: message},
		{Type: corev1.PodReady, True: s.Ready, Since: s.ReadySince, Reason: reason, Message: message},
	} {
		p.setCondition(c)
	}
}

// setCondition keeps one condition. Its time changes only with whether it holds.
func (p *pod) setCondition(c api.PodCondition) {
	i := slices.IndexFunc(p.record.Conditions, func(have api.PodCondition) bool { return have.Type == c.Type })
	if i >= 0 && p.record.Conditions[i].True == c.True {
		c.Since = p.record.Conditions[i].Since
	}
	if c.Since.IsZero() {
		c.Since = time.Now()
	}
	switch {
	case i < 0:
		p.record.Conditions, p.dirty = append(p.record.Conditions, c), true
	case p.record.Conditions[i] != c:
		p.record.Conditions[i], p.dirty = c, true
	}
}
