package node

import (
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A kind says what part a container has in its pod.
type kind int

const (
	mainContainer kind = iota
	initContainer      // runs to its end before what comes after it begins
	sidecar            // an init container that runs on beside what comes after it
)

// A container is the life of one container of the spec, over all its runs.
type container struct {
	spec    *corev1.Container
	kind    kind
	index   int    // among the containers of the pod, init containers first
	attempt int    // of the current run, or of the next one if there is none yet
	id      string // of the current run; empty before it is made

	image  imageState
	broken bool // the current run failed to start, and nothing says that this is its own fault

	// Once the current run has ended:
	settled   bool
	restart   bool
	restartAt time.Time
	waits     trouble // why the next run waits
	drifted   bool    // it ended by somebody else's doing

	// Of the current run:
	unready    string // why it is not ready
	complained bool   // about its not being ready
	hook       hook   // that is under way; empty if none is
	stopHook   context.CancelFunc
	stopProbes context.CancelFunc // nil when they do not run
	begun      bool               // that it has started is noted
	begunHere  bool               // this agent started it, so that it is of this start of the machine
	asks       probeKind          // startup, as long as only that probe runs
}

// An imageState is how far the image of a container's next run is.
type imageState int

const (
	imageWanted imageState = iota
	imagePulling
	imageReady
)

// isSidecar says whether an init container is one that stays.
func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// newContainers gives the containers of a template, in the order in which they start.
func newContainers(t *api.PodTemplate) []*container {
	all := []*container{}
	add := func(spec *corev1.Container, k kind) {
		all = append(all, &container{spec: spec, kind: k, index: len(all)})
	}
	for i := range t.Spec.InitContainers {
		c := &t.Spec.InitContainers[i]
		if isSidecar(c) {
			add(c, sidecar)
			continue
		}
		add(c, initContainer)
	}
	for i := range t.Spec.Containers {
		add(&t.Spec.Containers[i], mainContainer)
	}
	return all
}

// renew makes id the current run.
func (c *container) renew(id string, attempt int) {
	*c = container{spec: c.spec, kind: c.kind, index: c.index, image: c.image, attempt: attempt, id: id}
}

// view is the current run of a container, as it is known: how it ended outlives it.
func (p *pod) view(c *container) Container {
	if e, found := p.record.Ends[c.spec.Name]; found && c.id != "" && e.ID == c.id {
		return e.container(c.spec.Name)
	}
	return p.known[c.id]
}

func (p *pod) isRunning(c *container) bool { return p.view(c).State == ContainerRunning }

// named is the container of that name; nil if there is none.
func (p *pod) named(name string) *container {
	for _, c := range p.containers {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}

// current is the container with that current run; nil if there is none.
func (p *pod) current(id string) *container {
	for _, c := range p.containers {
		if c.id == id {
			return c
		}
	}
	return nil
}

// adopt makes the newest run on the machine, or else the newest that is remembered, the current one of each container
// that has none. One that was made may also have been started by an earlier agent only after this one had found it.
func (p *pod) adopt() {
	for _, c := range p.containers {
		if c.id == "" {
			p.adoptRun(c)
		}
		if c.id != "" && !c.begun && p.view(c).State != ContainerCreated {
			p.began(c)
		}
	}
}

func (p *pod) adoptRun(c *container) {
	for _, id := range slices.Sorted(maps.Keys(p.known)) {
		if k := p.known[id]; k.Name == c.spec.Name && k.Attempt >= c.attempt {
			c.attempt, c.id = k.Attempt, id
		}
	}
	if e, found := p.record.Ends[c.spec.Name]; found && (e.Attempt > c.attempt || e.Attempt == c.attempt && c.id == "") {
		c.attempt, c.id = e.Attempt, e.ID
	}
}

// began notes that the current run of a container has started.
func (p *pod) began(c *container) {
	c.begun = true
	k := p.view(c)
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
		if c.kind == mainContainer && c.attempt == 0 && p.view(c).State.rank() < ContainerRunning.rank() {
			return
		}
	}
	if c.kind == mainContainer {
		p.record.Started, p.dirty = k.Started, true
	}
}
