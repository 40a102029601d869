package tenure

import (
	"time"

	"headway.dev/headway/api"
)

// A Keeper is the tenure of one node, as the node keeps it. All times are of the machine's own clock since it was started:
// it never goes back, and goes on while the machine is suspended.
type Keeper struct {
	Kept
	Run
	begun time.Duration // when this daemon began
	heard bool          // one was, by this daemon
	next  uint64        // the number of the next beat
	sent  []sentBeat    // those not answered yet, the oldest first
	echo  api.Echo      // the newest answer
	back  time.Duration // when a leader was last back: with the first answer after it was lost, or of a new one; 0 is never
}

// Kept is what outlives the daemon and the machine.
type Kept struct {
	// Lease is the leader's, of the newest answer; 0 is no answer ever.
	Lease time.Duration `json:"lease"`
	// Fleet is how many nodes there are, and Voters how many of those may be running.
	Fleet  int `json:"fleet"`
	Voters int `json:"voters"`
	// Confirmed names the newest assignment that the leader knows to be in force here.
	Confirmed Mark `json:"confirmed"`
}

// Run is what outlives the daemon, and ends with the machine's run.
type Run struct {
	// Until is when tenure ends.
	Until time.Duration `json:"until"`
	// Since is when the newest beat was sent that the leader answered; 0 is none since the machine was started.
	Since time.Duration `json:"since"`
}

// A Mark names an assignment of a node.
type Mark struct {
	Term     api.Term `json:"term"`
	Sequence uint64   `json:"sequence"`
}

// Before reports whether the assignment came before another.
func (m Mark) Before(other Mark) bool {
	return m.Term < other.Term || m.Term == other.Term && m.Sequence < other.Sequence
}

// A sentBeat is one that awaits its answer.
type sentBeat struct {
	id   uint64
	at   time.Duration
	mark Mark
}

// maxSent bounds how many beats may await an answer.
const maxSent = 64

// NewKeeper goes on with what a node has kept. run is of this start of the machine, or zero; first is the number of its
// first beat, which must be none that a daemon before it may still get an answer to.
func NewKeeper(kept Kept, run Run, now time.Duration, first uint64) *Keeper {
	return &Keeper{Kept: kept, Run: run, begun: now, next: first}
}

func (k *Keeper) times() Times { return Of(k.Lease) }

// Beat completes a heartbeat that is about to be sent, by a node that obeys the assignment of that mark.
func (k *Keeper) Beat(beat api.Heartbeat, mark Mark, now time.Duration) api.Heartbeat {
	beat.ID, beat.Sequence, beat.Fleet, beat.Voters = k.next, mark.Sequence, k.Fleet, k.Voters
	beat.Term = max(mark.Term, k.echo.Term)
	beat.Obeys = mark.Term
	if k.heard {
		beat.Echo, beat.Age = k.echo, now-k.Since
	}
	k.next++
	if len(k.sent) == maxSent {
		k.sent = k.sent[1:]
	}
	k.sent = append(k.sent, sentBeat{beat.ID, now, mark})
	return beat
}

// Take takes in an answer of the leader, at a time. It reports whether that changed what outlives the daemon.
func (k *Keeper) Take(g api.Grant, now time.Duration) (changed bool) {
	for i, beat := range k.sent {
		if beat.id != g.Beat {
			continue
		}
		if g.Echo.Term < k.echo.Term || g.Lease <= 0 {
			return false // of one that leads no more
		}
		k.sent = k.sent[i+1:]
		if k.Lost(now) || k.heard && g.Echo.Term > k.echo.Term {
			k.back = now
		}
		k.Since, k.heard = max(k.Since, beat.at), true
		k.echo = g.Echo
		before := k.Kept
		k.Lease, k.Fleet, k.Voters = g.Lease, max(k.Fleet, g.Fleet), g.Voters
		if g.Held {
			k.Until = max(k.Until, beat.at+k.times().Hold)
		}
		if g.Held && g.Known && k.Confirmed.Before(beat.mark) {
			k.Confirmed = beat.mark
		}
		return k.Kept != before
	}
	return false
}

// free reports whether the fleet is so small that nothing is ever moved by itself.
func (k *Keeper) free() bool { return k.Lease > 0 && k.Voters <= alone }

// Holds reports whether the node may run what must not run twice.
func (k *Keeper) Holds(now time.Duration) bool { return k.free() || now < k.Until }

// Confirms reports whether the leader knows that the assignment, or a later one, is in force here: only then is a pod
// started that came with it.
func (k *Keeper) Confirms(mark Mark) bool { return !k.Confirmed.Before(mark) }

// Lapsed reports whether what must not run twice is to be stopped. A node that no leader ever answered never held it.
func (k *Keeper) Lapsed(now time.Duration) bool { return k.Lease > 0 && !k.Holds(now) }

// Lost reports whether the node has had no answer for so long that it takes the leader for lost.
func (k *Keeper) Lost(now time.Duration) bool {
	return k.Lease > 0 && k.Silence(now) >= k.times().Doubt
}

// Vouches reports whether the node tells a peer that no leader can be about to replace what the peer runs: it has lost the
// leader, or that came back so lately that it has not been in steady touch with this node for long.
func (k *Keeper) Vouches(now time.Duration) bool {
	return k.Lost(now) || k.back > 0 && now-k.back <= k.times().Fresh
}

// Asks reports whether the node is to ask its peers now: it has lost the leader and has something left to keep.
func (k *Keeper) Asks(now time.Duration) bool { return !k.free() && k.Lost(now) && now < k.Until }

// Extend takes in that a poll that began at a time found so many peers that vouch. It can only prolong what has not ended: a
// node that comes back late may have been replaced.
func (k *Keeper) Extend(asked time.Duration, vouchers int) (kept bool) {
	if asked >= k.Until || !k.Lost(asked) || !Stays(vouchers+1, k.Voters) {
		return false
	}
	k.Until = max(k.Until, asked+k.times().Extend)
	return true
}

// Silence is how long the leader has been silent. Where nothing is known of what a daemon before this one heard, it begins
// with this one.
func (k *Keeper) Silence(now time.Duration) time.Duration {
	if k.Since > 0 {
		return now - k.Since
	}
	return now - k.begun
}

// Conceal has the answers so far not told to the leader. A node does so as long as it could not keep Since: after a restart
// it would take the leader for lost, which knows that it was heard.
func (k *Keeper) Conceal() { k.heard = false }
