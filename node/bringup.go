package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"headway.dev/headway/api"
)

func (p *pod) dueFetch(time.Time) []target { return itself(p.template == nil) }

// fetch learns what the pod runs.
func (p *pod) fetch(ctx context.Context, _ target) error {
	ctx, cancel := p.untilHalt(ctx)
	defer cancel()
	t, err := p.host.blobs.template(ctx, p.record.Placement.Template)
	if err != nil {
		return err
	}
	for _, ref := range claimsOf(t, p.record.Placement) {
		p.host.claims.use(ref, p.uid)
	}
	p.uses(p.content(t))
	live := p.record.Placement.Live
	if p.configs, err = p.host.blobs.configs(ctx, configMaps(t, live)); err != nil {
		return err
	}
	if err := errors.Join(p.fetchSealed(ctx, t), p.fetchLive(ctx, live)); err != nil {
		return err
	}
	p.fetchPull(ctx)
	p.setTemplate(t)
	return nil
}

// uses notes which content the pod uses.
func (p *pod) uses(blobs []api.Digest) {
	p.mu.Lock()
	p.blobs = blobs
	p.mu.Unlock()
	p.host.learnt()
}

func (p *pod) setTemplate(t *api.PodTemplate) {
	p.template, p.containers = t, newContainers(t)
	p.mu.Lock()
	p.importance = p.priority()
	p.mu.Unlock()
	p.adopt()
}

// untilHalt ends with ctx, and when the pod is told to end.
func (p *pod) untilHalt(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.halt, cancel)
	return ctx, func() { stop(); cancel() }
}

func (p *pod) duePrepare(time.Time) []target {
	return itself(p.template != nil && !p.made())
}

// prepare makes what the containers share, at the same time.
func (p *pod) prepare(ctx context.Context, _ target) error {
	ctx, cancel := p.untilHalt(ctx)
	defer cancel()
	var work sync.WaitGroup
	var sandbox *Sandbox // set when both are done: the volumes' making looks at the pod's
	var attached, mounted error
	if p.sandbox == nil {
		work.Go(func() { sandbox, attached = p.attach(ctx) })
	}
	if p.mounts == nil {
		work.Go(func() { mounted = p.mount(ctx) })
	}
	work.Wait()
	if sandbox != nil {
		p.sandbox = sandbox
		if ip := sandbox.IP.String(); p.record.IP != ip {
			p.record.IP, p.dirty = ip, true
		}
	}
	return errors.Join(attached, mounted)
}

func (p *pod) attach(ctx context.Context) (*Sandbox, error) {
	sandbox, err := p.host.config.Network.Attach(ctx, p.uid, p.hostname())
	if err != nil {
		return nil, &stepError{"FailedCreatePodSandBox", err}
	}
	if sandbox.IP.IsValid() && !p.template.Spec.HostNetwork {
		if err := p.host.isolations.hold(ctx, p.uid, sandbox.IP); err != nil {
			return nil, &stepError{"FailedIsolate", err}
		}
	}
	sandbox.IP = p.address(sandbox.IP)
	if err := p.writeEtc(sandbox.IP); err != nil {
		return nil, &stepError{"FailedCreatePodSandBox", err}
	}
	return &sandbox, nil
}

func (p *pod) mount(ctx context.Context) error {
	config, err := p.volumeConfig(ctx)
	if err != nil {
		return &stepError{"FailedMount", err}
	}
	mounts, err := p.host.config.Volumes.Prepare(ctx, config)
	if err != nil {
		return &stepError{"FailedMount", err}
	}
	if mounts == nil {
		mounts = map[string]string{}
	}
	p.mounts = mounts
	return nil
}

func (p *pod) dueCreate(now time.Time) []target {
	if !p.isPermitted() {
		return nil
	}
	return p.onContainers(func(c *container) bool { return p.made() && c.image == imageReady && p.wantsRun(c, now) })
}

// made says whether there is all that a pod's containers share.
func (p *pod) made() bool { return p.sandbox != nil && p.mounts != nil }

func (p *pod) create(ctx context.Context, t target) error {
	c := t.container
	attempt := c.attempt
	if c.id != "" {
		attempt++
	}
	config, err := p.containerConfig(ctx, c, attempt)
	if err != nil {
		return &stepError{"CreateContainerConfigError", err}
	}
	if config.Devices, err = p.devicesFor(c); err != nil {
		return err
	}
	if config.Mounts, err = p.makeMessage(c, attempt, config.Mounts); err != nil {
		return &stepError{"CreateContainerConfigError", err}
	}
	if err := touch(config.LogPath); err != nil {
		return err
	}
	id, err := p.host.config.Runtime.Create(ctx, config)
	if _, own := errors.AsType[*StartError](err); own {
		p.unstartable(c, attempt, "", err)
		return nil
	} else if image, gone := errors.AsType[*ImageError](err); gone {
		// Somebody took it away since it was brought here: it is brought again, by its policy. What has failed is this step,
		// which is soon tried again, and not that.
		c.image = imageWanted
		return &stepError{image.Reason, errors.New(image.Image + ": " + image.Err.Error())}
	} else if err != nil {
		return err
	}
	if _, known := p.known[id]; !known {
		p.known[id] = Container{ID: id, PodUID: p.uid, Name: c.spec.Name, Attempt: attempt, State: ContainerCreated}
	}
	p.changed = p.host.look.number()
	p.host.look.met(id, p.uid)
	c.renew(id, attempt)
	return nil
}

// touch makes the log before the container has one, for those who follow it.
func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (p *pod) dueStart(time.Time) []target {
	if !p.isPermitted() {
		return nil
	}
	return p.onContainers(func(c *container) bool {
		return c.id != "" && !c.broken && p.view(c).State == ContainerCreated
	})
}

func (p *pod) start(ctx context.Context, t target) error {
	c := t.container
	err := p.host.config.Runtime.Start(ctx, c.id)
	if _, own := errors.AsType[*StartError](err); own {
		p.unstartable(c, c.attempt, c.id, err)
		return nil
	} else if err != nil {
		c.broken = true
		return err
	}
	k := p.known[c.id]
	c.begunHere = true
	k.State, k.Started = ContainerRunning, time.Now()
	p.known[c.id] = k
	p.changed = p.host.look.number()
	p.began(c)
	// The process ID, and an end that came at once, are seen by a look.
	p.host.look.want(p.uid)
	p.event("Started", "container "+c.spec.Name+" started", normal)
	if err := p.host.disk.removeOldRuns(p.uid, c.spec.Name, c.attempt); err != nil {
		p.log.Warn("logs of old runs stay on disk", "container", c.spec.Name, "error", err)
	}
	return nil
}

// dueClear finds a container that failed to start, to make it anew, those that a newer run has taken the place of, and
// init containers that are done, once the pod has started: that waits for nothing then.
func (p *pod) dueClear(now time.Time) []target {
	return p.onKnown(func(k Container) bool {
		c := p.named(k.Name)
		switch {
		case c == nil:
			return p.template != nil
		case c.id != k.ID:
			return k.Attempt < c.attempt && p.view(c).State.rank() >= ContainerRunning.rank()
		case p.view(c).State == ContainerExited && k.State == ContainerCreated:
			return true // it could not be started
		case c.kind == initContainer && k.State == ContainerExited:
			return !p.record.Started.IsZero() && !p.record.Initialized.IsZero()
		}
		return c.broken && !p.waiting(stepStart, target{container: c}, now)
	})
}
