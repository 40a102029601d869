package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
)

// PruneBlobs deletes at once what is not wanted, young or old: no leader may count on the rest.
func (b *fakeBus) PruneBlobs(_ context.Context, keep func(api.Digest) bool) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.blobs)
	maps.DeleteFunc(b.blobs, func(d api.Digest, _ []byte) bool { return !keep(d) })
	maps.DeleteFunc(b.blobTerms, func(d api.Digest, _ api.Term) bool { return !keep(d) })
	if b.report != nil && b.blobs[b.report.Objects] == nil {
		b.misdeeds = append(b.misdeeds, "the objects in force were pruned")
	}
	for _, a := range b.assignments {
		needs := ingressBlobs(a.Ingress)
		for _, p := range a.Pods {
			needs = append(needs, b.blobsOf(p)...)
		}
		for _, d := range needs {
			if d != "" && b.blobs[d] == nil {
				b.misdeeds = append(b.misdeeds, "pruned though "+a.Node+" needs it: "+d.Short())
			}
		}
	}
	return before - len(b.blobs), nil
}

// blobsOf are those that a pod needs. The bus is locked.
func (b *fakeBus) blobsOf(p api.Placement) []api.Digest {
	needs := append([]api.Digest{p.Template, p.Sealed}, p.Live.Blobs()...)
	if p.Pull != nil {
		needs = append(needs, p.Pull.Sealed)
	}
	var t api.PodTemplate
	if json.Unmarshal(b.blobs[p.Template], &t) == nil {
		needs = slices.AppendSeq(needs, maps.Values(t.ConfigMaps))
	}
	return needs
}

func ingressBlobs(a *api.IngressAssignment) []api.Digest {
	if a == nil {
		return nil
	}
	needs := []api.Digest{a.Rules}
	for _, c := range a.Certificates {
		needs = append(needs, c.Sealed)
	}
	return needs
}

// templates lists the images of the templates in the store.
func (b *fakeBus) templates() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var images []string
	for _, data := range b.blobs {
		var t api.PodTemplate
		if json.Unmarshal(data, &t) == nil && len(t.Spec.Containers) > 0 {
			images = append(images, t.Spec.Containers[0].Image)
		}
	}
	slices.Sort(images)
	return strings.Join(images, " ")
}

// TestBlobsArePruned: what a commit replaced goes from the store; a commit that takes it up again has it stored again, by the same
// leader and by one that follows.
func TestBlobsArePruned(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1, "service web")
		c.commit("c2", webV2, "service web")
		c.wait(time.Minute)
		c.expect("templates", c.bus.templates(), "v1 v2")
		c.wait(pruneEvery)
		c.expect("templates", c.bus.templates(), "v2")
		c.expect("images", c.images(), "v2")
		c.commit("c3", webV1, "service web")
		c.wait(time.Minute)
		c.expect("images", c.images(), "v1")
		c.expect("templates", c.bus.templates(), "v1 v2")
		c.kill()
		c.start()
		c.wait(pruneEvery + time.Minute)
		c.expect("templates", c.bus.templates(), "v1")
		c.commit("c4", webV2, "service web")
		c.wait(time.Minute)
		c.expect("images", c.images(), "v2")
	})
}

// TestPruningSpares goes back and forth between commits whose pods use content of every kind, and prunes after each.
func TestPruningSpares(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.start()
		c.settle()
		commits := [][]string{
			{
				"deployment web image=v1 replicas=2 config=items secret=keys pull=registry live=settings", "config items x=1", "secret keys k=1",
				"secret registry .dockerconfigjson=1", "config settings mode=slow", "secret settings word=one", "service web",
				"ingress web tls=tls", "secret tls tls.crt=1 tls.key=1",
			},
			{
				"deployment web image=v1 replicas=2 config=items secret=keys pull=registry live=settings", "config items x=1", "secret keys k=1",
				"secret registry .dockerconfigjson=2", "config settings mode=fast", "secret settings word=two", "service web",
				"ingress web tls=tls", "secret tls tls.crt=2 tls.key=2",
			},
			{"deployment web image=v2 replicas=3 config=items secret=keys", "config items x=2", "secret keys k=2", "service web"},
		}
		counts := map[int]int{}
		for round := range 3 {
			for i, lines := range commits {
				c.commit(fmt.Sprintf("c%d-%d", round, i), lines...)
				c.wait(pruneEvery + time.Minute)
				c.expect("pods", c.pods(), []int{2, 2, 3}[i])
				c.expect("images", c.images(), []string{"v1", "v1", "v2"}[i])
				if n := c.bus.count(); round > 0 && n != counts[i] {
					t.Errorf("commit %d leaves %d blobs, and left %d the first time", i, n, counts[i])
				} else {
					counts[i] = n
				}
			}
			if round == 1 {
				c.kill() // another leader goes on, and prunes before it has made anything itself
				c.start()
				c.wait(pruneEvery + time.Minute)
			}
		}
	})
}

// count says how many blobs there are.
func (b *fakeBus) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.blobs)
}

// TestUnusedIsNotRemembered: what is sealed for a node that has no pod with it goes from the store, and must be sealed again for
// the next one, though the template is in use elsewhere.
func TestUnusedIsNotRemembered(t *testing.T) {
	now := time.Unix(0, 0)
	s := newState(limits{}, fakeSeal, 1, State{}, now)
	if s.usedBlobs() != nil {
		t.Error("before it has planned, it says what is used")
	}
	s.planned = true
	placement := api.Placement{PodIdentity: api.PodIdentity{UID: "a", Template: "template"}, Node: "n1", Sealed: "sealed for n1"}
	s.addPod(s.node("n1", now), &pod{placement: placement, assigned: true})
	s.sealed[sealedKey{"template", "shop", "n1"}] = "sealed for n1"
	s.sealed[sealedKey{"template", "shop", "n2"}] = "sealed for n2"
	s.live[liveKey{"print", "n2"}] = "live for n2"
	s.pulls.sealed = map[pullKey]api.Digest{{"print", "n2"}: "pull for n2"}
	s.ingress.sealed[sealedCertificate{recipient: "n2"}] = "certificate for n2"
	s.stored["sealed for n1"], s.stored["sealed for n2"] = true, true
	used := s.usedBlobs()
	if !used["template"] || !used["sealed for n1"] || used["sealed for n2"] {
		t.Errorf("used are %v", used)
	}
	if len(s.sealed) != 1 || len(s.stored) != 1 || len(s.live)+len(s.pulls.sealed)+len(s.ingress.sealed) > 0 {
		t.Errorf("it remembers %v, %v, %v, %v, %v", s.sealed, s.stored, s.live, s.pulls.sealed, s.ingress.sealed)
	}
}
