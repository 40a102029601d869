package tenure_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// TestNeverBoth draws fleets and partitions: those that hear the leader, and those that have lost it, are never enough for
// both sides, whatever the silent node has heard of the fleet.
func TestNeverBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		voters := rapid.IntRange(1, 40).Draw(t, "voters")
		// The silent node is one of them; others may have joined since it was cut off, and some may be gone for good.
		known := rapid.IntRange(1, voters+5).Draw(t, "known")
		heard := rapid.IntRange(0, voters-1).Draw(t, "heard")
		// Of those that the leader does not hear, the silent one can have the votes of all that it knows.
		lost := min(voters-heard, known)
		if tenure.Moves(heard, voters, known) && tenure.Stays(lost, known) {
			t.Errorf("with %d voters, of which %d are heard, a node that knows of %d stays with the votes of %d", voters, heard, known, lost)
		}
	})
}

// TestSmallFleets holds that one or two nodes neither move nor stop anything.
func TestSmallFleets(t *testing.T) {
	for voters := 1; voters <= 2; voters++ {
		if !tenure.Stays(1, voters) || tenure.Moves(voters, voters, voters) {
			t.Errorf("with %d voters: stays %t, moves %t", voters, tenure.Stays(1, voters), tenure.Moves(voters, voters, voters))
		}
	}
}

// TestMargins holds the order of times on which the argument rests, for clocks of which one runs a tenth faster.
func TestMargins(t *testing.T) {
	for _, lease := range []time.Duration{time.Second, 16 * time.Second, 40 * time.Second, time.Hour} {
		x := tenure.Of(lease)
		slow := func(d time.Duration) time.Duration { return d * 11 / 10 }
		if slow(x.Hold)+slow(x.Grace) >= x.Lease || slow(x.Fresh)+slow(x.Extend)+slow(x.Grace) >= x.Steady || x.Fresh+x.Extend <= slow(x.Doubt) || slow(x.Gap) >= x.Doubt || x.Steady >= x.Lease || x.Gap < 4*x.Beat {
			t.Errorf("the parts of %s do not fit: %+v", lease, x)
		}
	}
}

const lease = 40 * time.Second

// granted answers a beat.
func granted(k *tenure.Keeper, sent time.Duration, mark tenure.Mark, held bool) {
	b := k.Beat(api.Heartbeat{Node: "n1"}, mark, sent)
	k.Take(api.Grant{Node: "n1", Beat: b.ID, Echo: api.Echo{Term: 1, Time: sent}, Held: held, Known: held, Lease: lease, Fleet: 3, Voters: 3}, sent)
}

// TestKeeper follows a node through its life.
func TestKeeper(t *testing.T) {
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	mark := tenure.Mark{Term: 1, Sequence: 4}
	k := tenure.NewKeeper(tenure.Kept{}, tenure.Run{}, second(5), 1)
	holds := func(now time.Duration, want bool) {
		t.Helper()
		if k.Holds(now) != want {
			t.Errorf("at %s it holds: %t", now, !want)
		}
	}
	holds(second(6), false)
	if k.Lapsed(second(100)) {
		t.Error("a node that was never under a leader has nothing to stop")
	}
	granted(k, second(10), mark, false)
	holds(second(11), false)
	granted(k, second(10), mark, true)
	holds(second(29), true)
	holds(second(30), false)
	if !k.Confirms(mark) || k.Confirms(tenure.Mark{Term: 1, Sequence: 5}) {
		t.Errorf("confirmed is %+v", k.Confirmed)
	}
	if k.Lost(second(19)) || k.Vouches(second(19)) || !k.Lost(second(20)) || !k.Vouches(second(20)) {
		t.Error("it has lost the leader after a quarter of the lease")
	}
	if k.Extend(second(21), 0) {
		t.Error("one of three stays")
	}
	if !k.Extend(second(29), 1) {
		t.Error("two of three do not stay")
	}
	holds(second(38), true)
	holds(second(39), false)
	if k.Extend(second(40), 2) {
		t.Error("what has ended is prolonged")
	}
	// Another daemon of the same start of the machine goes on; another start does not.
	again := tenure.NewKeeper(k.Kept, k.Run, second(35), 100)
	if !again.Holds(second(36)) || !again.Asks(second(36)) || !again.Extend(second(36), 1) {
		t.Error("a restart of the daemon while the control plane is away ends tenure")
	}
	if k = tenure.NewKeeper(k.Kept, tenure.Run{}, second(1), 200); !k.Lapsed(second(2)) {
		t.Error("a restart of the machine begins tenure")
	}
}

// TestLateAnswer counts tenure from the sending of what was answered, and takes no answer twice, nor of an older term.
func TestLateAnswer(t *testing.T) {
	k := tenure.NewKeeper(tenure.Kept{}, tenure.Run{}, 0, 1)
	first := k.Beat(api.Heartbeat{}, tenure.Mark{}, time.Second)
	g := api.Grant{Beat: first.ID, Echo: api.Echo{Term: 2}, Held: true, Known: true, Lease: lease, Fleet: 3, Voters: 3}
	k.Take(g, 6*time.Second)
	if k.Until != time.Second+lease/2 {
		t.Errorf("tenure ends at %s", k.Until)
	}
	second := k.Beat(api.Heartbeat{}, tenure.Mark{}, 5*time.Second)
	k.Take(g, 6*time.Second)
	g.Beat, g.Echo.Term = second.ID, 1
	k.Take(g, 6*time.Second)
	if k.Until != time.Second+lease/2 {
		t.Errorf("an answer of a leader that was followed prolongs tenure to %s", k.Until)
	}
}

// TestVouches: a node vouches for a while yet when a leader is back, or is another, for such a one cannot have been in touch
// for long; but not for one that it cannot tell from the one before.
func TestVouches(t *testing.T) {
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	take := func(k *tenure.Keeper, term api.Term, at time.Duration) {
		b := k.Beat(api.Heartbeat{}, tenure.Mark{}, at)
		k.Take(api.Grant{Beat: b.ID, Echo: api.Echo{Term: term}, Held: true, Known: true, Lease: lease, Fleet: 3, Voters: 3}, at)
	}
	vouches := func(k *tenure.Keeper, now time.Duration, want bool) {
		t.Helper()
		if k.Vouches(now) != want {
			t.Errorf("at %s it vouches: %t", now, !want)
		}
	}
	k := tenure.NewKeeper(tenure.Kept{}, tenure.Run{}, second(1), 1)
	take(k, 4, second(2))
	vouches(k, second(3), false) // it may have been in touch with the daemon before this one
	take(k, 4, second(11))
	vouches(k, second(12), false)
	take(k, 5, second(20))
	vouches(k, second(25), true)
	vouches(k, second(26), false)
	take(k, 5, second(31))
	vouches(k, second(36), true)
	vouches(k, second(37), false)
	take(k, 5, second(40))
	again := tenure.NewKeeper(k.Kept, k.Run, second(41), 100)
	take(again, 5, second(42))
	vouches(again, second(43), false)
}
