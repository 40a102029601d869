// Package tenure holds the rules by which what must not run twice is moved from a silent node: those that the node keeps
// and those that the leader keeps, as pure functions of time.
//
// A node may run such pods while its tenure lasts. The leader renews it with each answer to a heartbeat, counted from when
// the node sent that. Once a node has heard nothing for a while it asks its peers: as long as at least half of the voters
// have lost the leader too, or have only just found it again, it is the control plane that is away, and the node goes on.
// Otherwise its tenure ends, and it stops the pods. The leader replaces them after a longer time, and only while more than half of the voters have been in
// steady contact with it. No voter can be on both sides, so that both cannot hold; docs/decisions/0025 has the argument.
package tenure

import "time"

// Times are the parts of a lease: how long a node is silent before its pods are replaced elsewhere.
type Times struct {
	Lease time.Duration
	// Hold is how long one answer of the leader lets a node run its pods; Extend how long one poll of the peers does.
	Hold, Extend time.Duration
	// Doubt is after how long without an answer a node has lost the leader, asks its peers, and tells them so. Fresh is for how
	// long it tells them so still once there is a leader again: one that is soon gone may have had no time for all of them.
	Doubt, Fresh time.Duration
	// Grace is what processes have to end by themselves once tenure has ended. What is left of Lease after Hold and
	// Grace makes up for clocks that do not run alike, and for the time that a kill takes.
	Grace time.Duration
	// Steady is how long the leader must have been in touch with a majority, no contact ever older than Gap. It is longer
	// than Fresh, Extend and Grace together, and Gap shorter than Doubt, by as much as clocks may differ.
	Steady, Gap time.Duration
	// Beat is how often a node must give a sign of life at least.
	Beat time.Duration
}

// Of divides a lease.
func Of(lease time.Duration) Times {
	return Times{
		Lease: lease, Hold: lease / 2, Extend: lease / 4, Doubt: lease / 4, Fresh: lease / 8, Grace: lease / 8,
		Steady: lease * 5 / 8, Gap: lease * 3 / 16, Beat: lease / 40,
	}
}

// alone is the greatest number of voters of which no majority can ever go on without one of them: with that few, the
// leader replaces nothing by itself, and no node needs its leave.
const alone = 2

// Stays reports whether a node that is cut off keeps its pods: at least half of the voters, itself among them, have lost
// the leader.
func Stays(lost, voters int) bool { return 2*lost >= voters }

// Moves reports whether the leader may replace a silent node's pods: it hears more than half of the voters, of those that
// it knows and of those that the silent node knew. Voters that the silent one has not heard of may be among those heard, so
// that they are taken off.
func Moves(heard, voters, known int) bool {
	return voters > alone && known > alone && 2*heard > 2*voters-min(known, voters)
}
