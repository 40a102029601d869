package node

import (
	"context"
	"time"
)

// A pullResult is how the bringing of an image for a container ended.
type pullResult struct {
	container string
	err       error
}

// dueImage asks for images ahead: also for those whose turn has not come.
func (p *pod) dueImage(now time.Time) []target {
	return p.onContainers(func(c *container) bool { return c.image == imageWanted && p.mayRun(c, now) })
}

// image begins to bring the image of a container to the machine, beside the pod's other steps: one that cannot be had is
// the trouble of its container only.
func (p *pod) image(ctx context.Context, t target) error {
	c := t.container
	c.image = imagePulling
	name, policy := c.spec.Image, c.spec.ImagePullPolicy
	result := pullResult{container: c.spec.Name}
	p.beside.Go(func() {
		ctx, cancel := p.untilHalt(ctx)
		defer cancel()
		_, result.err = p.host.config.Images.Ensure(ctx, name, policy)
		p.deliver(func(in *inbox) { in.pulls = append(in.pulls, result) })
	})
	return nil
}

// pulled takes in how that ended.
func (p *pod) pulled(r pullResult) {
	c := p.named(r.container)
	if c == nil || c.image != imagePulling || p.isClosing() {
		return
	}
	t := target{container: c}
	if r.err != nil {
		c.image = imageWanted
		p.fail(stepImage, errImagePull, t, r.err)
		return
	}
	c.image = imageReady
	delete(p.failures, failing{stepImage, t.String()})
}
