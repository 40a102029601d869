package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// settle decides what becomes of a container whose run has ended.
func (p *pod) settle(c *container, now time.Time) {
	k := p.view(c)
	if c.id == "" || c.settled || k.State != ContainerExited {
		return
	}
	c.settled, c.image = true, imageWanted
	if c.hook != "" {
		c.stopHook()
	}
	delete(p.failures, failing{stepKill, c.spec.Name})
	p.mu.Lock()
	if r := p.runs[c.spec.Name]; r != nil {
		r.end()
	}
	p.mu.Unlock()
	e, news := p.countEnd(c, k)
	if p.isClosing() {
		return
	}
	c.restart, c.drifted = p.restarts(c, e), p.isDrift(c, e)
	wait := p.host.config.Restart.wait(e.Failures)
	c.restartAt = k.Finished.Add(wait)
	if k.Finished.IsZero() || k.Finished.After(now) {
		c.restartAt = now.Add(wait)
	}
	if c.restart {
		c.waits = waiting(e, wait)
	}
	if p.leaves(c) && c.restart {
		c.waits = trouble{reasonDrifted, "it was killed or taken away by somebody else" + leftAsItIs}
	}
	if !news {
		return
	}
	if c.drifted {
		p.tellDrift(c)
		return
	}
	switch why := "container " + c.spec.Name + " " + e.String(); {
	case !c.restart:
		if e.ExitCode != 0 {
			p.event("Failed", why, warning)
		}
	case wait > 0:
		p.event("BackOff", why+fmt.Sprintf("; it is restarted %v after that", wait), warning)
	case e.ExitCode != 0:
		p.event("Failed", why+"; it is restarted at once", warning)
	}
}

// waiting says why a container waits for its next run.
func waiting(e end, wait time.Duration) trouble {
	reason := reasonCrashLoop
	if e.Unstarted != "" {
		reason = reasonRunError
	}
	if wait == 0 {
		if e.Unstarted == "" {
			return trouble{}
		}
		return trouble{reason, e.String()}
	}
	return trouble{reason, fmt.Sprintf("back-off %v: it %s", wait, e)}
}

// restarts says whether a container runs again after an end.
func (p *pod) restarts(c *container, e end) bool {
	if c.kind == initContainer && e.Void {
		return true
	}
	policy := p.template.Spec.RestartPolicy
	if c.kind == initContainer && policy != corev1.RestartPolicyNever {
		policy = corev1.RestartPolicyOnFailure
	}
	if c.spec.RestartPolicy != nil {
		policy = corev1.RestartPolicy(*c.spec.RestartPolicy)
	}
	for _, rule := range c.spec.RestartPolicyRules {
		if rule.Action == corev1.ContainerRestartRuleActionRestart && meets(rule.ExitCodes, e.ExitCode) {
			return true
		}
	}
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return e.ExitCode != 0 || e.Asked != "" && c.kind != initContainer
	}
	return true
}

// meets says whether an exit code is one that a rule is for.
func meets(codes *corev1.ContainerRestartRuleOnExitCodes, code int) bool {
	if codes == nil {
		return false
	}
	in := slices.Contains(codes.Values, int32(code))
	return in == (codes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn)
}

// countEnd keeps a run's end in the record, and reports whether it was not there yet.
func (p *pod) countEnd(c *container, k Container) (end, bool) {
	last, found := p.record.Ends[c.spec.Name]
	if found && last.ID == c.id {
		return last, false
	}
	how := p.noteOf(c).Ending
	e := end{
		ID: c.id, Attempt: c.attempt, Failures: last.Failures + 1, ExitCode: k.ExitCode, OOM: k.OOM, Lost: k.Lost,
		Started: k.Started, Finished: k.Finished, Asked: how.Why, Shutdown: how.Shutdown,
		Said: p.host.lastLine(p.host.disk.logPath(p.uid, c.spec.Name, c.attempt)),
	}
	e.Message = p.terminationMessage(c, k.ExitCode)
	switch {
	case e.Shutdown:
		e.Failures = 0
	case !k.Started.IsZero() && k.Finished.Sub(k.Started) >= p.host.config.Restart.Steady:
		e.Failures = 1
	}
	p.keepEnd(c, e)
	return e, true
}

// keepEnd makes an end the newest of its container, and keeps the one before it.
func (p *pod) keepEnd(c *container, e end) {
	if p.record.Ends == nil {
		p.record.Ends = map[string]end{}
	}
	if last, found := p.record.Ends[c.spec.Name]; found {
		last.Before = nil
		e.Before = &last
	}
	p.record.Ends[c.spec.Name], p.dirty = e, true
}

// exitUnstartable is the exit code of a container whose process could not be started, as Kubernetes gives it.
const exitUnstartable = 128

// unstartable takes a run that could not begin, by its own fault, for one that has ended.
func (p *pod) unstartable(c *container, attempt int, id string, err error) {
	if id == "" {
		id = fmt.Sprintf("unstarted-%d", attempt)
	}
	c.renew(id, attempt)
	p.keepEnd(c, end{
		ID: id, Attempt: attempt, Failures: p.record.Ends[c.spec.Name].Failures + 1,
		ExitCode: exitUnstartable, Finished: time.Now(), Unstarted: err.Error(),
	})
	p.began(c)
	p.settle(c, time.Now())
	p.event("Failed", reasonRunError+": container "+c.spec.Name+" "+p.record.Ends[c.spec.Name].String(), warning)
}

// String says how a container ended, with the last line of what it said.
func (e end) String() string {
	s := fmt.Sprintf("ended with exit code %d", e.ExitCode)
	switch {
	case e.Unstarted != "":
		return "could not be started: " + e.Unstarted
	case e.OOM:
		s = "was killed: it went past its memory limit"
	case e.Asked != "" && !e.Shutdown:
		s += " " + e.Asked
	}
	said := e.Said
	if e.Message != "" {
		said, _, _ = strings.Cut(strings.TrimSpace(e.Message), "\n")
	}
	if said != "" && e.ExitCode != 0 {
		s += ": " + said
	}
	return s
}

// reason is how a container ended, in Kubernetes' word.
func (e end) reason() string {
	switch {
	case e.Unstarted != "":
		return reasonStartError
	case e.OOM:
		return reasonOOM
	case e.ExitCode != 0:
		return reasonError
	}
	return reasonCompleted
}

// text is the message of a container that ended so.
func (e end) text() string {
	switch {
	case e.Message != "":
		return e.Message
	case e.ExitCode != 0, e.Asked != "" && e.Asked != askedWithPod && !e.Shutdown:
		return e.String()
	}
	return ""
}
