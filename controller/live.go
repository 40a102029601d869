package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
)

// A liveKey names what is sealed once of what changes in place: what secrets hold, for one node.
type liveKey struct {
	print api.Digest
	node  string
}

// sealLive gives the same with its secrets sealed to the node. The error says why that cannot be.
func (s *state) sealLive(live *api.LiveConfig, namespace, node string) (*api.LiveConfig, error) {
	if live == nil {
		return nil, nil
	}
	contents := api.SecretContents{}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(live.Secrets)) {
		c := live.Secrets[name]
		if c.Digest == "" {
			continue
		}
		ref := api.Ref{Kind: "Secret", Namespace: namespace, Name: name}
		o := s.secrets[ref]
		secret, ok := o.Value.(*corev1.Secret)
		if !ok || o.Fingerprint != c.Digest {
			return nil, fmt.Errorf("what %s held is not known any more", ref)
		}
		contents[name] = secret.Data
		fmt.Fprintf(sum, "%s %s\n", name, c.Digest)
	}
	sealed := &api.LiveConfig{ConfigMaps: live.ConfigMaps, Secrets: live.Secrets}
	if len(contents) == 0 {
		return sealed, nil
	}
	key := liveKey{api.Digest(hex.EncodeToString(sum.Sum(nil))), node}
	if digest, ok := s.live[key]; ok {
		sealed.Sealed = digest
		return sealed, nil
	}
	digest, err := s.sealToNode(node, contents)
	if err != nil {
		return nil, err
	}
	s.live[key], sealed.Sealed = digest, digest
	return sealed, nil
}

// updateInPlace gives pods that run on the content that the plan has for them. One whose secrets cannot be sealed stays as it
// is: the next plan has it again.
func (s *state) updateInPlace(plan planner.Plan, now time.Time) {
	for _, u := range plan.Updates {
		p := s.pods.get(u.Pod.UID)
		if p == nil || !p.runs() {
			continue
		}
		live, err := s.sealLive(u.Live, u.Pod.Pod.Namespace, p.placement.Node)
		if err != nil {
			continue
		}
		s.want(live.Blobs(), plan.Blobs)
		if !p.given {
			p.needs = append(p.needs, live.Blobs()...)
		}
		p.placement.Live = live
		s.noteRecipient(&p.placement)
		s.nodes[p.placement.Node].touch()
		s.pods.unswept = true
		s.event(api.Event{Time: now, Kind: "Updated", Ref: u.Pod.Pod, Reason: "in place: " + u.Reason, Commit: u.Commit})
	}
}

// want has those blobs written that the store may lack.
func (s *state) want(needs []api.Digest, blobs map[api.Digest][]byte) {
	for _, digest := range needs {
		if data, ok := blobs[digest]; ok && !s.stored[digest] {
			s.blobs[digest] = data
		}
	}
}

// A former is what a pod that runs has of what changes in place, for as long as the blobs of what comes after are not stored.
type former struct {
	live  *api.LiveConfig
	until []api.Digest
}

// formerOf tells that of a pod; false: it waits for nothing.
func (s *state) formerOf(p *pod) (former, bool) {
	live := p.placement.Live
	if !p.given || live.Same(p.reached) {
		return former{}, false
	}
	until := slices.DeleteFunc(live.Blobs(), func(d api.Digest) bool { return s.blobs[d] == nil })
	return former{p.reached, until}, len(until) > 0
}

// forgetLive drops what no pod is given any more.
func (s *state) forgetLive() {
	used := map[api.Digest]bool{}
	for _, n := range s.nodes {
		for _, p := range n.pods {
			if live := p.placement.Live; live != nil {
				used[live.Sealed] = true
			}
		}
	}
	maps.DeleteFunc(s.live, func(_ liveKey, d api.Digest) bool { return !used[d] })
}
