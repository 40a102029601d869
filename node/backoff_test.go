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
