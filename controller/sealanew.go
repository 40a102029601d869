package controller

import (
	"encoding/json"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
)

// holdsSealed reports whether anything that the placement names is sealed to the node.
func holdsSealed(p api.Placement) bool {
	return p.Sealed != "" || p.Pull != nil && p.Pull.Sealed != "" || p.Live != nil && p.Live.Sealed != ""
}

// noteRecipient notes which key a placement was first sealed to.
func (s *state) noteRecipient(p *api.Placement) {
	if p.Recipient == "" && holdsSealed(*p) {
		p.Recipient = s.nodes[p.Node].info.SealKey
	}
}

// isRekeyed reports whether the node of a pod has another key than its secrets were sealed to.
func (s *state) isRekeyed(p *pod) bool {
	n, sealedTo := s.nodes[p.placement.Node], p.placement.Recipient
	return p.runs() && sealedTo != "" && n.info != nil && n.info.SealKey != "" && n.info.SealKey != sealedTo
}

// sealAnew seals what pods have of secrets to the key of their node, where that is another than it was: a node that has lost its
// key makes a new one, and opens nothing of before. Nothing else of the pods changes. One whose secrets nobody knows any more
// stays as it is: what runs of it runs on, and the next plan has it again.
func (s *state) sealAnew(plan planner.Plan, now time.Time) {
	for _, p := range s.rekeyed() {
		n := s.nodes[p.placement.Node]
		s.pods.unswept = true
		next, err := s.sealedAnew(p.placement, plan.Blobs)
		if err != nil {
			continue
		}
		next.Recipient = n.info.SealKey
		if !p.given {
			p.needs = append(p.needs, next.Sealed)
			p.needs = append(p.needs, next.Live.Blobs()...)
		}
		p.placement = next
		n.touch()
		s.event(api.Event{
			Time: now, Kind: "SealedAnew", Ref: next.Pod, Commit: next.Commit,
			Reason: "node " + n.name + " has another key than its secrets were sealed to: they are sealed to that; it is not restarted",
		})
	}
}

// sealedAnew is the placement with what it has of secrets sealed once more. Without its pull secrets a pod runs as well, so that
// these keep no others back.
func (s *state) sealedAnew(p api.Placement, blobs map[api.Digest][]byte) (api.Placement, error) {
	var err error
	if p.Sealed != "" {
		template, ok := s.templates[p.Template]
		if !ok {
			template = new(api.PodTemplate)
			if err := json.Unmarshal(blobs[p.Template], template); err != nil {
				return p, err
			}
		}
		if p.Sealed, err = s.seal(p.Template, template, p.Pod.Namespace, p.Node); err != nil {
			return p, err
		}
	}
	if p.Live, err = s.sealLive(p.Live, p.Pod.Namespace, p.Node); err != nil {
		return p, err
	}
	if p.Pull != nil && p.Pull.Sealed != "" {
		if contents, print := s.pullContents(p.Pull.Names, p.Pod.Namespace); print == p.Pull.Print {
			if sealed, ok := s.sealPull(pullKey{print, p.Node}, contents); ok {
				p.Pull = &api.PullSecrets{Names: p.Pull.Names, Print: print, Sealed: sealed}
			}
		}
	}
	return p, nil
}
