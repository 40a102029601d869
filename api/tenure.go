package api

import "time"

// A Heartbeat is a node's sign of life. The leader answers it with a Grant. Written by the node.
type Heartbeat struct {
	Node string `json:"node"`
	Term Term   `json:"term"` // the highest term the node knows of
	// Obeys and Sequence name the assignment that is in force on the node.
	Obeys    Term   `json:"obeys,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	// ID tells this beat from the node's others, for the answer.
	ID uint64 `json:"id,omitempty"`
	// Echo is the newest answer that the node had when it sent this, and Age how long before it had sent the newest beat
	// that was answered.
	Echo Echo          `json:"echo,omitzero"`
	Age  time.Duration `json:"age,omitempty"`
	// Fleet is how many nodes there are as the node was last told, and Voters how many it counts in a vote.
	Fleet  int `json:"fleet,omitempty"`
	Voters int `json:"voters,omitempty"`
}

// An Echo is the time at which a leader gave an answer, since it began to lead.
type Echo struct {
	Term Term          `json:"term"`
	Time time.Duration `json:"time"`
}

// A Grant answers a heartbeat. Not stored. Written by the leader.
type Grant struct {
	Node string `json:"node"`
	Beat uint64 `json:"beat"` // the ID of the beat
	Echo Echo   `json:"echo"`
	// Held says that the node may go on running what must not run twice, as of when it sent the beat: the leader has
	// replaced none of what runs there. Reason is why not.
	Held   bool   `json:"held"`
	Reason string `json:"reason,omitempty"`
	// Known says that the leader also knows of all that the node has by the assignment that it obeys, so that what came with
	// that may start.
	Known bool `json:"known,omitempty"`
	// Lease is how long the node may be silent before such pods are replaced elsewhere.
	Lease time.Duration `json:"lease"`
	// Fleet is how many nodes there are, and Voters how many of those are not said in Git to be out of service.
	Fleet  int `json:"fleet"`
	Voters int `json:"voters"`
}

// Exclusive reports whether the pod must end before another of its name may run elsewhere, which is by a lease that both its
// node and the leader keep: no two of a StatefulSet's may ever run at once. One whose data is in a directory of its node runs
// nowhere else, so that nothing need end it.
func (p Placement) Exclusive() bool { return p.Owner.Kind == "StatefulSet" && !p.isRooted() }

// isRooted reports whether a claim of the pod's own has its data in a directory of the pod's node, not on a declared volume.
func (p Placement) isRooted() bool {
	for volume := range p.Claims {
		if _, declared := p.Volumes[volume]; !declared {
			return true
		}
	}
	return false
}
