package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A container is the life of one container of the spec, over all its runs.
type container struct {
	spec    *corev1.Container
	attempt int    // of the current run, or of the next one if there is none yet
	id      string // of the current run; empty before it is made

	imageReady bool
	broken     bool      // the current run failed to start
	removed    Container // what the run before was, if it was removed to make it anew or for good

	// Once the current run has ended:
	settled   bool
	restart   bool
	restartAt time.Time
	waits     trouble // why the next run waits
	ended     string  // how the run ended

	// What the probes say of the current run:
	ready      bool
	unready    string // why it is not ready
	complained bool   // about its not being ready
	unhealthy  string // why it is not alive
	told       time.Time
	killed     bool
	stopProbes context.CancelFunc // nil when they do not run
}

func newContainer(spec *corev1.Container) *container { return &container{spec: spec} }

// renew makes id the current run.
func (c *container) renew(id string, attempt int) {
	*c = container{spec: c.spec, imageReady: c.imageReady, attempt: attempt, id: id}
}

// adopt makes the newest run on the machine the current one of each container that has none.
func (p *pod) adopt() {
	for _, c := range p.containers {
		if c.id != "" {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(p.known)) {
			if k := p.known[id]; k.Name == c.spec.Name && k.Attempt >= c.attempt {
				c.attempt, c.id = k.Attempt, id
			}
		}
		if c.id == "" {
			continue
		}
		c.ready = p.record.Ready[c.spec.Name] == c.id
		if p.known[c.id].State != ContainerCreated {
			p.began(c)
		}
	}
}

// began notes that the current run of a container has started.
func (p *pod) began(c *container) {
	k := p.known[c.id]
	p.mu.Lock()
	if r := p.runs[c.spec.Name]; r != nil {
		r.end()
	}
	p.runs[c.spec.Name] = newRun(p.host.disk.logPath(p.uid, c.spec.Name, c.attempt), k)
	p.mu.Unlock()
	if !p.record.Started.IsZero() {
		return
	}
	for _, c := range p.containers {
		if c.attempt == 0 && p.known[c.id].State.rank() < ContainerRunning.rank() {
			return
		}
	}
	p.record.Started, p.dirty = k.Started, true
}

// settle decides what becomes of a container whose run has ended.
func (p *pod) settle(c *container, now time.Time) {
	k := p.known[c.id]
	if c.id == "" || c.settled || k.State != ContainerExited {
		return
	}
	c.settled, c.ready, c.imageReady = true, false, false
	delete(p.failures, failing{stepKill, c.spec.Name})
	p.mu.Lock()
	if r := p.runs[c.spec.Name]; r != nil {
		r.end()
	}
	p.mu.Unlock()
	if p.stopping() {
		return
	}
	switch p.template.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
	case corev1.RestartPolicyOnFailure:
		c.restart = k.ExitCode != 0 || !c.told.IsZero()
	default:
		c.restart = true
	}
	c.ended = p.endOf(c, k)
	why, news := "container "+c.spec.Name+" "+c.ended, p.countEnd(c, k)
	if !c.restart {
		if news && k.ExitCode != 0 {
			p.event("Failed", why, warning)
		}
		return
	}
	wait := crashWait(p.record.Ends[c.spec.Name].Failures)
	c.restartAt = k.Finished.Add(wait)
	if k.Finished.IsZero() || k.Finished.After(now) {
		c.restartAt = now.Add(wait)
	}
	if wait > 0 {
		c.waits = trouble{"CrashLoopBackOff", fmt.Sprintf("back-off %v: it %s", wait, c.ended)}
	}
	switch {
	case !news:
	case wait > 0:
		p.event("BackOff", why+fmt.Sprintf("; it is restarted %v after that", wait), warning)
	case k.ExitCode != 0:
		p.event("Failed", why+"; it is restarted at once", warning)
	}
}

// countEnd keeps a run's end in the record, and reports whether it was not there yet.
func (p *pod) countEnd(c *container, k Container) bool {
	last := p.record.Ends[c.spec.Name]
	if last.ID == c.id {
		return false
	}
	if !k.Started.IsZero() && k.Finished.Sub(k.Started) >= steadyRun {
		last.Failures = 0
	}
	if p.record.Ends == nil {
		p.record.Ends = map[string]end{}
	}
	p.record.Ends[c.spec.Name], p.dirty = end{ID: c.id, Failures: last.Failures + 1}, true
	return true
}

// crashWait is how long a container waits for its next run: not at all after the first end in a row.
func crashWait(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	return crashSchedule.after(failures - 1)
}

// endOf says how a container ended, with the last line of its log.
func (p *pod) endOf(c *container, k Container) string {
	s := fmt.Sprintf("ended with exit code %d", k.ExitCode)
	switch {
	case k.OOM:
		s = "was killed: it went past its memory limit"
	case !c.told.IsZero():
		s += " after it failed its liveness probe"
	}
	if last := p.host.lastLine(p.host.disk.logPath(p.uid, c.spec.Name, c.attempt)); last != "" && k.ExitCode != 0 {
		s += ": " + last
	}
	return s
}
