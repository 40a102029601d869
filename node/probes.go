package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A probeKind is what a probe is asked for.
type probeKind string

const (
	startup   probeKind = "startup" // the others wait for it
	readiness probeKind = "readiness"
	liveness  probeKind = "liveness"
)

// A probeResult is a change in what a probe says of a run of a container.
type probeResult struct {
	container, id string
	kind          probeKind
	healthy       bool
	message       string // why not
	// lasting is set when the failures have reached the threshold: until then a container may still be on its way.
	lasting bool
}

// A probing is one probe of one run of a container.
type probing struct {
	kind    probeKind
	spec    corev1.Probe
	began   time.Time // when the run did, from which its delay counts
	jitter  float64   // where in its period a probe begins that has no haste, from 0 to 1
	healthy bool      // to begin with
	probe   func(ctx context.Context) error
	report  func(healthy, lasting bool, message string)
}

// firstRetry is how soon a startup or readiness probe that has never succeeded is tried again. The wait doubles up to the period,
// so that a container that is ready soon is seen to be ready soon.
const firstRetry = 25 * time.Millisecond

// probeBeat is what periods are whole multiples of: attempts that follow on one another are made on its beats, so that those of
// many probes fall together, and with them what the agent looks after now and then. To wake up costs a process more than the attempt that it wakes up for: of 20 probes a second, each
// at a moment of its own takes 0.7 ms of a core, five at a time 0.25 ms.
const probeBeat = 250 * time.Millisecond

// untilBeat is how long it is from now to the beat that is nearest to the end of a period.
func untilBeat(now time.Time, period time.Duration) time.Duration {
	now = now.Round(0) // by the machine's clock, which is one for all
	return now.Add(period).Round(probeBeat).Sub(now)
}

// run probes until ctx is done.
func (p probing) run(ctx context.Context) {
	period, hurry := seconds(p.spec.PeriodSeconds, 10), firstRetry
	delay := time.Until(p.began.Add(seconds(p.spec.InitialDelaySeconds, 0)))
	if p.healthy {
		// Those of many containers that began together are spread over the time.
		hurry, delay = period, max(delay, 0)+time.Duration(p.jitter*float64(period))
	}
	if !pause(ctx, delay) {
		return
	}
	successes, failures := 0, 0
	for {
		err := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := min(hurry, period)
		if err == nil {
			hurry = period
			wait = period
			successes, failures = successes+1, 0
			if !p.healthy && successes >= max(1, int(p.spec.SuccessThreshold)) {
				p.healthy = true
				p.report(true, true, "")
				if p.kind == startup {
					return // it has said all
				}
			}
		} else {
			_, unknown := errors.AsType[*unasked](err)
			if !unknown {
				successes = 0
			}
			if wait == period && !unknown {
				failures++ // those that come faster would count too much
			}
			p.failed(err, failures)
			hurry *= 2
		}
		if wait == period {
			wait = untilBeat(time.Now(), period)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

func (p *probing) failed(err error, failures int) {
	threshold := 3
	if p.spec.FailureThreshold > 0 {
		threshold = int(p.spec.FailureThreshold)
	}
	message := fmt.Sprintf("%s probe: %s", p.kind, err)
	switch {
	case failures >= threshold:
		p.healthy = false
		p.report(false, true, message)
	case !p.healthy:
		p.report(false, false, message)
	}
}

// once makes one attempt, within the probe's time.
func (p probing) once(ctx context.Context) error {
	timeout := seconds(p.spec.TimeoutSeconds, 1)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := p.probe(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", timeout)
	}
	return err
}

func seconds(n, otherwise int32) time.Duration {
	if n <= 0 {
		n = otherwise
	}
	return time.Duration(n) * time.Second
}

// supervise has the probes run of all containers that run and are not to end, and of no other: the startup probe until it
// succeeds, and the others from then on.
func (p *pod) supervise(ctx context.Context) {
	for _, c := range p.containers {
		asks := probeKind("")
		switch {
		case !p.isRunning(c) || p.sandbox == nil || !p.isStarted(c) || p.isClosing() || !p.noteOf(c).Ending.Since.IsZero():
		case !p.isBegun(c):
			asks = startup
		default:
			asks = readiness
		}
		if asks == c.asks {
			continue
		}
		if c.stopProbes != nil {
			c.stopProbes()
			c.stopProbes = nil
		}
		if c.asks = asks; asks != "" {
			p.startProbes(ctx, c)
		}
	}
}

func (p *pod) startProbes(ctx context.Context, c *container) {
	ctx, c.stopProbes = context.WithCancel(ctx)
	if c.asks == startup {
		p.startProbe(ctx, c, startup, c.spec.StartupProbe)
		return
	}
	p.startProbe(ctx, c, readiness, c.spec.ReadinessProbe)
	p.startProbe(ctx, c, liveness, c.spec.LivenessProbe)
}

func (p *pod) startProbe(ctx context.Context, c *container, kind probeKind, spec *corev1.Probe) {
	if spec == nil {
		return
	}
	result := probeResult{container: c.spec.Name, id: c.id, kind: kind}
	probing := probing{
		kind: kind, spec: *spec, began: p.view(c).Started, jitter: fraction(c.id + string(kind)),
		healthy: kind == liveness || kind == readiness && p.noteOf(c).Ready,
		probe:   p.host.prober(spec.ProbeHandler, c.id, p.sandbox.IP, c.spec.Ports),
		report: func(healthy, lasting bool, message string) {
			r := result
			r.healthy, r.lasting, r.message = healthy, lasting, message
			p.deliver(func(in *inbox) { in.probes = append(in.probes, r) })
		},
	}
	p.beside.Go(func() { probing.run(ctx) })
}

// fraction spreads names evenly from 0 to 1, each always to the same place.
func fraction(name string) float64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	// The last bytes of a name change too little in the sum's upper half without this.
	return float64(h.Sum64()*0x9e3779b97f4a7c15>>11) / (1 << 53)
}

// prober gives the function that makes one attempt.
func (a *Agent) prober(handler corev1.ProbeHandler, id string, ip netip.Addr, ports []corev1.ContainerPort) func(context.Context) error {
	if handler.Exec != nil {
		command := a.command(id, handler.Exec.Command)
		return func(ctx context.Context) error {
			err := command(ctx)
			if _, ran := errors.AsType[*commandError](err); err == nil || ran || ctx.Err() != nil {
				return err
			}
			return &unasked{err}
		}
	}
	return func(ctx context.Context) error { return a.config.Prober.Probe(ctx, handler, ip, ports) }
}

// unasked says that a command could not be run, as when the runtime is away: that says nothing of the container.
type unasked struct{ err error }

func (e *unasked) Error() string { return "it could not be asked: " + e.err.Error() }
func (e *unasked) Unwrap() error { return e.err }

// probed takes in what a probe says. What is said of a run that is over counts no more.
func (p *pod) probed(r probeResult, now time.Time) {
	c := p.named(r.container)
	if c == nil || c.id != r.id || c.settled {
		return
	}
	switch {
	case r.kind == readiness:
		p.probedReady(c, r)
	case r.healthy:
		p.note(c, func(n *runNote) { n.Begun = true })
		c.unready = ""
	case r.lasting && p.noteOf(c).Ending.Since.IsZero():
		spec, grace := c.spec.LivenessProbe, p.grace()
		if r.kind == startup {
			spec = c.spec.StartupProbe
		}
		if own := spec.TerminationGracePeriodSeconds; own != nil {
			grace = time.Duration(*own) * time.Second
		}
		c.unready = r.message
		p.event("Unhealthy", "container "+c.spec.Name+": "+r.message, warning)
		p.event("Killing", fmt.Sprintf("container %s fails its %s probe and is ended: %s", c.spec.Name, r.kind, r.message), warning)
		p.endRun(c, ending{Since: now, Grace: grace, Why: fmt.Sprintf("after it failed its %s probe", r.kind)})
	case r.kind == startup:
		c.unready = r.message
	}
}

func (p *pod) probedReady(c *container, r probeResult) {
	if p.noteOf(c).Ready && !r.healthy || r.lasting && !r.healthy && !c.complained {
		c.complained = true
		p.event("Unhealthy", "container "+c.spec.Name+": "+r.message, warning)
	}
	if r.healthy {
		c.complained = false
	}
	c.unready = r.message
	p.note(c, func(n *runNote) { n.Ready = r.healthy })
}

// A tail keeps the end of what is written to it.
type tail struct{ data []byte }

// tailSize is more than people read of a message.
const tailSize = 1 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if extra := len(t.data) - tailSize; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}

// lastLine gives the last line that is not empty, fit to be shown.
func (t *tail) lastLine() string {
	text := bytes.TrimSpace(t.data)
	text = text[bytes.LastIndexByte(text, '\n')+1:]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(text), "?"))
}
