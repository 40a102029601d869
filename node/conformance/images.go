package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// ImageCases are what is asked of an agent about the images of its pods, whatever the registry is.
func ImageCases() []PodCase {
	var cases []PodCase
	for _, c := range []struct {
		name string
		test func(*stage, *guardedImages)
	}{
		{"Container Runtime should be able to pull from private registry with secret", privateRegistry},
		{"Container Runtime should not be able to pull from private registry without secret", noSecret},
		{"ImagePull should report how far the image is", pullProgress},
	} {
		cases = append(cases, PodCase{Name: c.name, Test: func(t testing.TB, m Machine) {
			g := &guardedImages{Images: m.Config.Images, goOn: make(chan struct{})}
			m.Config.Images, m.Config.Secrets = g, openly{}
			c.test(newStage(t, m), g)
		}})
	}
	return append(cases, PodCase{Name: "ImagePull should bring an image again that was removed before its container was made", Test: imageRemoved})
}

// fleetingImages are the machine's, of which the first that comes is gone at once.
type fleetingImages struct {
	node.Images
	drop func(image string) // nil once it was
}

func (f *fleetingImages) Ensure(ctx context.Context, image string, policy corev1.PullPolicy) (string, error) {
	digest, err := f.Images.Ensure(ctx, image, policy)
	if f.drop != nil {
		f.drop(image)
		f.drop = nil
	}
	return digest, err
}

func imageRemoved(t testing.TB, m Machine) {
	m.Config.Images = &fleetingImages{Images: m.Config.Images, drop: func(image string) { m.DropImage(t, image) }}
	s := newStage(t, m)
	uid := s.run("web", sleepsOn(m.AddImage(t)))
	p := s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	if c := container(p, "main"); c.Restarts != 0 {
		s.Errorf("it was restarted: %+v", c)
	}
}

// password is what the guarded images ask for.
const password = "swordfish"

// guardedImages are the machine's, which a pod has only for a password.
type guardedImages struct {
	node.Images
	mu     sync.Mutex
	hold   bool          // every image waits until goOn is closed
	goOn   chan struct{} // closed when an image may come
	shown  []string      // the secrets by name, of each pull
	rights []string
}

func (g *guardedImages) Pull(ctx context.Context, request node.PullRequest) (string, error) {
	var secrets []node.PullSecret
	if request.Secrets != nil {
		var err error
		if secrets, err = request.Secrets(ctx); err != nil {
			return "", err
		}
	}
	names := ""
	right := false
	for _, s := range secrets {
		names += s.Name + " "
		right = right || string(s.Data.Reveal()[".dockerconfigjson"]) == password
	}
	g.mu.Lock()
	g.shown, g.rights = append(g.shown, strings.TrimSpace(names)), append(g.rights, request.Right)
	hold := g.hold
	g.mu.Unlock()
	if hold {
		request.Progress(api.PullProgress{Done: 3 << 20, Total: 8 << 20, LayersDone: 1, Layers: 2})
		select {
		case <-g.goOn:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if !right && !hold {
		return "", &node.ImageError{Image: request.Image, Reason: "ErrImagePull", Err: errors.New("unauthorized")}
	}
	return g.Ensure(ctx, request.Image, request.Policy)
}

// pull has a placement show a secret of that content; an empty one is that it is not declared.
func (s *stage) pull(p *api.Placement, content string) {
	s.Helper()
	p.Pull = &api.PullSecrets{Names: []string{"regcred"}}
	if content == "" {
		return
	}
	sealed, err := s.bus.put(api.SecretContents{"regcred": {".dockerconfigjson": []byte(content)}})
	if err != nil {
		s.Fatal(err)
	}
	p.Pull.Print, p.Pull.Sealed = api.Digest("print-of-"+fmt.Sprint(len(content))), sealed
}

const sleeper = `
containers:
- {name: main, image: IMAGE, command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}`

func privateRegistry(s *stage, g *guardedImages) {
	uid := s.runWith("private", sleeper, func(_ *api.PodTemplate, p *api.Placement) { s.pull(p, "wrong") })
	s.comes(uid, "the registry does not give it", func(p api.PodStatus) bool { return strings.HasPrefix(p.Reason, "ErrImagePull") })
	// The secret changes under the pod.
	s.pull(&s.pods[0], password)
	s.bus.assign(s.pods)
	s.comes(uid, "it runs", func(p api.PodStatus) bool { return p.Phase == api.PodRunning && p.Ready })
	if p := s.comes(uid, "it has the new placement", func(p api.PodStatus) bool { return p.Placement.Pull.Same(s.pods[0].Pull) }); container(p, "main").Restarts != 0 {
		s.Errorf("it was restarted: %+v", p)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.ContainsFunc(g.shown, func(names string) bool { return names != "regcred" }) || g.rights[len(g.rights)-1] != string(s.pods[0].Pull.Print) {
		s.Errorf("it showed %q, with the rights %q", g.shown, g.rights)
	}
}

func noSecret(s *stage, _ *guardedImages) {
	uid := s.runWith("private", sleeper, func(_ *api.PodTemplate, p *api.Placement) { s.pull(p, "") })
	other := s.runWith("other", sleeper, func(_ *api.PodTemplate, p *api.Placement) { s.pull(p, password) })
	p := s.comes(uid, "it is refused", func(p api.PodStatus) bool { return p.Reason == "ImagePullBackOff" })
	if c := container(p, "main"); c.State != "waiting" || !strings.Contains(c.Message, "unauthorized") || !strings.Contains(c.Message, "regcred: not declared") {
		s.Errorf("it says %+v", c)
	}
	s.comes(other, "the other one runs", func(p api.PodStatus) bool { return p.Ready })
}

func pullProgress(s *stage, g *guardedImages) {
	g.mu.Lock()
	g.hold = true
	g.mu.Unlock()
	uid := s.run("slow", sleeper)
	p := s.comes(uid, "it says how far the image is", func(p api.PodStatus) bool { return container(p, "main").Pulling != nil })
	const want = "pulling: 3 of 8 MiB, 1 of 2 layers"
	if c := container(p, "main"); c.Message != want || c.State != "waiting" || p.Message != "container main: "+want {
		s.Errorf("it says %q of the pod and of its container %+v", p.Message, c)
	}
	close(g.goOn)
	p = s.comes(uid, "it runs", func(p api.PodStatus) bool { return p.Ready })
	if c := container(p, "main"); c.Pulling != nil || c.Message != "" {
		s.Errorf("it still says %+v", c)
	}
}
