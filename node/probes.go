package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A probeKind is what a probe is asked for.
type probeKind string

const (
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
	healthy bool // to begin with
	probe   func(ctx context.Context) error
	report  func(healthy, lasting bool, message string)
}

// firstRetry is how soon a readiness probe that has never succeeded is tried again. The wait doubles up to the period,
// so that a container that is ready soon is seen to be ready soon.
const firstRetry = 25 * time.Millisecond

// run probes until ctx is done.
func (p probing) run(ctx context.Context) {
	if !pause(ctx, seconds(p.spec.InitialDelaySeconds, 0)) {
		return
	}
	period := seconds(p.spec.PeriodSeconds, 10)
	hurry := firstRetry
	if p.kind == liveness || p.healthy {
		hurry = period
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
			}
		} else {
			successes = 0
			if wait == period {
				failures++ // those that come faster would count too much
			}
			p.failed(err, failures)
			hurry *= 2
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

// supervise has the probes run of all containers that run, and of no other.
func (p *pod) supervise(ctx context.Context) {
	for _, c := range p.containers {
		wanted := p.known[c.id].State == ContainerRunning && p.sandbox != nil && !p.stopping() && c.told.IsZero()
		switch {
		case wanted && c.stopProbes == nil:
			p.startProbes(ctx, c)
		case !wanted && c.stopProbes != nil:
			c.stopProbes()
			c.stopProbes = nil
		}
	}
}

func (p *pod) startProbes(ctx context.Context, c *container) {
	ctx, c.stopProbes = context.WithCancel(ctx)
	for kind, spec := range map[probeKind]*corev1.Probe{readiness: c.spec.ReadinessProbe, liveness: c.spec.LivenessProbe} {
		if spec == nil {
			continue
		}
		result := probeResult{container: c.spec.Name, id: c.id, kind: kind}
		probing := probing{
			kind: kind, spec: *spec, healthy: kind == liveness || c.ready,
			probe: p.host.prober(spec.ProbeHandler, c.id, p.sandbox.IP, c.spec.Ports),
			report: func(healthy, lasting bool, message string) {
				r := result
				r.healthy, r.lasting, r.message = healthy, lasting, message
				p.deliver(func(in *inbox) { in.probes = append(in.probes, r) })
			},
		}
		p.probing.Go(func() { probing.run(ctx) })
	}
}

// prober gives the function that makes one attempt.
func (a *Agent) prober(handler corev1.ProbeHandler, id string, ip netip.Addr, ports []corev1.ContainerPort) func(context.Context) error {
	if handler.Exec == nil {
		return func(ctx context.Context) error { return a.config.Prober.Probe(ctx, handler, ip, ports) }
	}
	return func(ctx context.Context) error {
		var output tail
		code, err := a.config.Runtime.Exec(ctx, id, handler.Exec.Command, Streams{Stdout: &output, Stderr: &output})
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("%s ended with exit code %d: %s", strings.Join(handler.Exec.Command, " "), code, output.lastLine())
		}
		return nil
	}
}

// probed takes in what a probe says. What is said of a run that is over counts no more.
func (p *pod) probed(r probeResult) {
	for _, c := range p.containers {
		if c.spec.Name != r.container || c.id != r.id || c.settled {
			continue
		}
		if r.kind == liveness {
			if !r.healthy && r.lasting && c.unhealthy == "" {
				c.unhealthy = r.message
				p.event("Unhealthy", "container "+c.spec.Name+": "+r.message, warning)
			}
			return
		}
		if c.ready && !r.healthy || r.lasting && !r.healthy && !c.complained {
			c.complained = true
			p.event("Unhealthy", "container "+c.spec.Name+": "+r.message, warning)
		}
		if r.healthy {
			c.complained = false
		}
		c.ready, c.unready = r.healthy, r.message
		p.keepReady(c)
	}
}

func (p *pod) keepReady(c *container) {
	if p.record.Ready == nil {
		p.record.Ready = map[string]string{}
	}
	id := ""
	if c.ready {
		id = c.id
	}
	if p.record.Ready[c.spec.Name] != id {
		p.record.Ready[c.spec.Name], p.dirty = id, true
	}
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
