package node

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"headway.dev/headway/api"
)

func (p *pod) dueFetch(time.Time) []target { return itself(p.template == nil) }

// fetch learns what the pod runs.
func (p *pod) fetch(ctx context.Context, _ target) error {
	ctx, cancel := p.untilHalt(ctx)
	defer cancel()
	digest := p.record.Placement.Template
	t, err := p.host.blobs.template(ctx, digest)
	if err != nil {
		return err
	}
	used := []api.Digest{digest}
	used = slices.AppendSeq(slices.AppendSeq(used, maps.Values(t.ConfigMaps)), maps.Values(t.Secrets))
	p.mu.Lock()
	p.blobs = used
	p.mu.Unlock()
	p.host.learnt()
	if p.configs, err = p.host.blobs.configs(ctx, t); err != nil {
		return err
	}
	p.template = t
	for i := range t.Spec.Containers {
		p.containers = append(p.containers, newContainer(&t.Spec.Containers[i]))
	}
	p.adopt()
	return nil
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

// prepare makes all that the containers need, at the same time: sandbox, volumes and images. An image that cannot be had
// is the trouble of its container only.
func (p *pod) prepare(ctx context.Context, _ target) error {
	ctx, cancel := p.untilHalt(ctx)
	defer cancel()
	var work sync.WaitGroup
	var attached, mounted error
	if p.sandbox == nil {
		work.Go(func() { attached = p.attach(ctx) })
	}
	if p.mounts == nil {
		work.Go(func() { mounted = p.mount(ctx) })
	}
	now := time.Now()
	pulled := make([]error, len(p.containers))
	for i, c := range p.containers {
		if p.wantsImage(c, now) && !p.waiting(stepImage, target{container: c}, now) {
			work.Go(func() { pulled[i] = p.image(ctx, target{container: c}) })
		}
	}
	work.Wait()
	for i, c := range p.containers {
		if pulled[i] != nil && ctx.Err() == nil {
			p.fail(stepImage, errImagePull, target{container: c}, pulled[i])
		}
	}
	return errors.Join(attached, mounted)
}

func (p *pod) attach(ctx context.Context) error {
	sandbox, err := p.host.config.Network.Attach(ctx, p.uid, p.hostname())
	if err != nil {
		return &stepError{"FailedCreatePodSandBox", err}
	}
	sandbox.IP = p.address(sandbox.IP)
	if err := p.writeEtc(sandbox.IP); err != nil {
		return &stepError{"FailedCreatePodSandBox", err}
	}
	p.sandbox = &sandbox
	if ip := sandbox.IP.String(); p.record.IP != ip {
		p.record.IP, p.dirty = ip, true
	}
	return nil
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

func (p *pod) dueKill(now time.Time) []target {
	return p.onContainers(func(c *container) bool {
		if c.unhealthy == "" || p.known[c.id].State != ContainerRunning {
			return false
		}
		return c.told.IsZero() || !c.killed && !now.Before(c.told.Add(p.grace()))
	})
}

// kill ends a container that fails its liveness probe: first politely, after the grace period by force.
func (p *pod) kill(ctx context.Context, t target) error {
	c := t.container
	if c.told.IsZero() {
		if err := p.host.config.Runtime.Signal(ctx, c.id, syscall.SIGTERM); err != nil {
			return err
		}
		p.event("Killing", "container "+c.spec.Name+" fails its liveness probe and is restarted: "+c.unhealthy, warning)
		c.told = time.Now()
		return nil
	}
	if err := p.host.config.Runtime.Signal(ctx, c.id, syscall.SIGKILL); err != nil {
		return err
	}
	c.killed = true
	return nil
}

func (p *pod) dueImage(now time.Time) []target {
	return p.onContainers(func(c *container) bool { return p.wantsImage(c, now) })
}

// wantsRun says whether a container is to be made now.
func (p *pod) wantsRun(c *container, now time.Time) bool {
	return c.id == "" || c.settled && c.restart && !now.Before(c.restartAt)
}

func (p *pod) wantsImage(c *container, now time.Time) bool {
	return p.wantsRun(c, now) && !c.imageReady
}

func (p *pod) image(ctx context.Context, t target) error {
	ctx, cancel := p.untilHalt(ctx)
	defer cancel()
	c := t.container
	if _, err := p.host.config.Images.Ensure(ctx, c.spec.Image, c.spec.ImagePullPolicy); err != nil {
		return err
	}
	c.imageReady = true
	return nil
}

func (p *pod) dueCreate(now time.Time) []target {
	return p.onContainers(func(c *container) bool { return p.made() && p.wantsRun(c, now) && c.imageReady })
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
	if err := touch(config.LogPath); err != nil {
		return err
	}
	id, err := p.host.config.Runtime.Create(ctx, config)
	if err != nil {
		return err
	}
	if _, known := p.known[id]; !known {
		p.known[id] = Container{ID: id, PodUID: p.uid, Name: c.spec.Name, Attempt: attempt, State: ContainerCreated}
	}
	p.changed = p.host.look.number()
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
	return p.onContainers(func(c *container) bool {
		return c.id != "" && !c.broken && p.known[c.id].State == ContainerCreated
	})
}

func (p *pod) start(ctx context.Context, t target) error {
	c := t.container
	if err := p.host.config.Runtime.Start(ctx, c.id); err != nil {
		c.broken = true
		return err
	}
	k := p.known[c.id]
	k.State, k.Started = ContainerRunning, time.Now()
	p.known[c.id] = k
	p.changed = p.host.look.number()
	p.began(c)
	// The process ID, and an end that came at once, are seen by a look.
	p.host.look.wanted.set()
	p.event("Started", "container "+c.spec.Name+" started", normal)
	if err := p.host.disk.removeOldLogs(p.uid, c.spec.Name, c.attempt); err != nil {
		p.log.Warn("old logs stay on disk", "container", c.spec.Name, "error", err)
	}
	return nil
}

// dueClear finds a container that failed to start, to make it anew, and those that a newer run has taken the place of.
func (p *pod) dueClear(now time.Time) []target {
	return p.onKnown(func(k Container) bool {
		for _, c := range p.containers {
			if c.spec.Name != k.Name {
				continue
			}
			if c.id == k.ID {
				return c.broken && !p.waiting(stepStart, target{container: c}, now)
			}
			return k.Attempt < c.attempt && p.known[c.id].State.rank() >= ContainerRunning.rank()
		}
		return p.template != nil
	})
}
