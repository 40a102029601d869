package node

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRestartWaits asks of any figures that the first restart comes at once, that no wait is shorter than the one before,
// none longer than the longest, and that the longest is reached.
func TestRestartWaits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "first"))
		r := Restart{First: first, Most: first * time.Duration(rapid.Int64Range(1, 1000).Draw(t, "most"))}.withDefaults()
		if r.wait(0) != 0 || r.wait(1) != 0 || r.wait(2) != r.First {
			t.Fatalf("it begins with %v, %v, %v", r.wait(0), r.wait(1), r.wait(2))
		}
		for n := 2; n < 20; n++ {
			if wait, next := r.wait(n), r.wait(n+1); next < wait || next > r.Most || next != r.Most && next != 2*wait {
				t.Fatalf("after %d ends %v, and then %v", n, wait, next)
			}
		}
		if r.wait(1<<20) != r.Most {
			t.Fatalf("it ends with %v, want %v", r.wait(1<<20), r.Most)
		}
	})
}

// TestFraction asks that probes of containers whose names differ little are spread.
func TestFraction(t *testing.T) {
	var tenths [10]int
	for i := range 1000 {
		f := fraction("pod-" + time.Duration(i).String() + "liveness")
		if f < 0 || f >= 1 {
			t.Fatalf("%v is not from 0 to 1", f)
		}
		tenths[int(10*f)]++
	}
	for i, n := range tenths {
		if n < 50 {
			t.Errorf("only %d of 1000 fall into tenth %d", n, i)
		}
	}
}

// TestProbeBeat asks that attempts follow on one another by their period, that they fall together, and that one which took long
// puts off no other by more than it must.
func TestProbeBeat(t *testing.T) {
	begun := time.Date(2026, 1, 2, 3, 4, 5, 90_000_000, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		period := time.Duration(rapid.IntRange(1, 3600).Draw(t, "period")) * time.Second
		took := time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "took"))
		now := begun.Add(took)
		next := now.Add(untilBeat(now, period))
		if !next.Equal(next.Truncate(probeBeat)) {
			t.Fatalf("%v is no beat", next)
		}
		if off := next.Sub(now) - period; off < -probeBeat/2 || off > probeBeat/2 {
			t.Fatalf("%v after an attempt is %v off its period", next.Sub(now), off)
		}
		// From a beat on, an attempt that takes less than half of one leaves the period what it is.
		if then := next.Add(took % (probeBeat / 2)); then.Add(untilBeat(then, period)).Sub(next) != period {
			t.Fatalf("%v after a beat the next attempt is %v after it", then.Sub(next), then.Add(untilBeat(then, period)).Sub(next))
		}
	})
}
