package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"headway.dev/headway/api"
)

// A pullResult is how the bringing of an image for a container ended.
type pullResult struct {
	container string
	image     string
	err       error
	lacking   string        // why some of the pod's pull secrets were not shown; empty: all were, or none was asked for
	took      time.Duration // 0 for an image that was there
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
	request := PullRequest{Image: c.spec.Image, Policy: c.spec.ImagePullPolicy}
	pull := p.record.Placement.Pull
	name := c.spec.Name
	p.beside.Go(func() {
		ctx, cancel := p.untilHalt(ctx)
		defer cancel()
		result := p.bring(ctx, name, request, pull)
		p.deliver(func(in *inbox) { in.pulls = append(in.pulls, result) })
	})
	return nil
}

// bring brings an image to the machine. It touches nothing that is the pod's goroutine's.
func (p *pod) bring(ctx context.Context, container string, request PullRequest, pull *api.PullSecrets) pullResult {
	result := pullResult{container: container, image: request.Image}
	images := p.host.config.Images
	puller, ok := images.(Puller)
	if !ok {
		_, result.err = images.Ensure(ctx, request.Image, request.Policy)
		return result
	}
	var began time.Time
	request.Progress = func(far api.PullProgress) {
		if began.IsZero() {
			began = time.Now()
		}
		p.notePull(container, &far)
	}
	if pull != nil {
		request.Right = string(pull.Print)
		request.Secrets = func(ctx context.Context) ([]PullSecret, error) {
			secrets, lacking := p.host.openPull(ctx, *pull)
			result.lacking = lacking
			return secrets, nil
		}
	}
	_, result.err = puller.Pull(ctx, request)
	p.notePull(container, nil)
	if !began.IsZero() {
		result.took = max(time.Since(began), time.Millisecond)
	}
	return result
}

// openPull gives the pull secrets that can be had, and says of the others why not.
func (a *Agent) openPull(ctx context.Context, pull api.PullSecrets) (secrets []PullSecret, lacking string) {
	var all map[string]api.SecretData
	if pull.Sealed != "" {
		var err error
		if all, err = a.openSealed(ctx, pull.Sealed); err != nil {
			return nil, fmt.Sprintf("%s: %v", strings.Join(pull.Names, ", "), err)
		}
	}
	var missing []string
	for _, name := range pull.Names {
		if data, ok := all[name]; ok {
			secrets = append(secrets, PullSecret{Name: name, Data: data})
			continue
		}
		missing = append(missing, name)
	}
	if len(missing) > 0 {
		lacking = strings.Join(missing, ", ") + ": not declared in the pod's namespace as a secret for registries"
	}
	return secrets, lacking
}

// pulled takes in how that ended.
func (p *pod) pulled(r pullResult) {
	c := p.named(r.container)
	if c == nil || c.image != imagePulling || p.isClosing() {
		return
	}
	if r.lacking != "" && r.lacking != p.lacking {
		p.event("FailedToRetrieveImagePullSecret", "image pull secrets could not be shown to the registry: "+r.lacking, warning)
	}
	p.lacking = r.lacking
	t := target{container: c}
	if r.err != nil {
		c.image = imageWanted
		p.fail(stepImage, errImagePull, t, r.explained())
		return
	}
	c.image = imageReady
	delete(p.failures, failing{stepImage, t.String()})
	if r.took > 0 {
		p.event("Pulled", fmt.Sprintf("container %s: image %s in %v", r.container, r.image, r.took.Round(time.Millisecond)), normal)
	}
}

// explained adds to the failure that secrets were lacking.
func (r pullResult) explained() error {
	image, ok := errors.AsType[*ImageError](r.err)
	if !ok || r.lacking == "" {
		return r.err
	}
	return &ImageError{Image: image.Image, Reason: image.Reason, Err: fmt.Errorf("%w; without the image pull secrets %s", image.Err, r.lacking)}
}

// fetchPull has the pod's pull secrets on disk, sealed as they are. Images may be had without them.
func (p *pod) fetchPull(ctx context.Context) {
	pull := p.record.Placement.Pull
	if pull == nil || pull.Sealed == "" {
		return
	}
	if _, err := p.host.blobs.get(ctx, pull.Sealed); err != nil && ctx.Err() == nil {
		p.log.Warn("the pod's image pull secrets are not on disk: they are asked for again when they are needed", "error", err)
	}
}

// pullAnew has images that could not be had tried again at once: the pod's pull secrets have changed.
func (p *pod) pullAnew() {
	if p.template != nil {
		p.uses(p.content(p.template))
	}
	for key, f := range p.failures {
		if key.step == stepImage {
			f.until = time.Time{}
		}
	}
}

// notePull notes how far the image of a container is; nil is that it is not on its way any more. It wakes no pod: an image
// that is nearer changes nothing of what is to be done.
func (p *pod) notePull(container string, far *api.PullProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if far == nil {
		delete(p.pulls, container)
		return
	}
	p.pulls[container] = *far
	p.host.pulls.set()
}

// pullsEvery is how often a node reports, at most, that images are nearer: one write for all of them.
const pullsEvery = 5 * time.Second

// reportPulls has the status put while images are on their way, until ctx is done.
func (a *Agent) reportPulls(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.pulls:
		}
		a.status.set()
		if !pause(ctx, pullsEvery) {
			return
		}
	}
}

// withPulls is a pod's status with how far its images are.
func withPulls(s api.PodStatus, pulls map[string]api.PullProgress) api.PodStatus {
	if len(pulls) == 0 {
		return s
	}
	s.InitContainers, s.Containers = slices.Clone(s.InitContainers), slices.Clone(s.Containers)
	for _, name := range slices.Sorted(maps.Keys(pulls)) {
		for _, all := range [][]api.ContainerStatus{s.InitContainers, s.Containers} {
			i := slices.IndexFunc(all, func(c api.ContainerStatus) bool { return c.Name == name })
			if i < 0 || all[i].State != stateWaiting {
				continue
			}
			all[i].Pulling = new(pulls[name])
			all[i].Message = cmp.Or(all[i].Message, pulls[name].String())
			if s.Phase == api.PodPending {
				s.Message = cmp.Or(s.Message, "container "+name+": "+all[i].Message)
			}
		}
	}
	return s
}
