package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seed  = flag.Int64("seed", -1, "simulate only this seed, and show all that happens")
	seeds = flag.Int("seeds", 0, "simulate that many seeds; by default 200")
	first = flag.Int64("first", 1, "the first of the seeds")
	logs  = flag.Bool("logs", false, "with -seed, show what the controllers log")
)

// seedTime is how long a seed may take on a slow machine that does much else: most take less than a tenth of a second.
const seedTime = 5 * time.Minute

// inBubble simulates one seed. One that hangs ends the test with where it hangs.
func inBubble(t *testing.T, seed uint64, o options) (r result) {
	t.Helper()
	watchdog := time.AfterFunc(seedTime, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("seed %d hangs: it has taken %s; to see it alone: go test ./test/sim -run TestSim -seed %d", seed, seedTime, seed))
	})
	defer watchdog.Stop()
	t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
		synctest.Test(t, func(*testing.T) { r = simulate(seed, o) })
	})
	return r
}

// TestSim simulates many seeds, and holds that none breaks an invariant.
func TestSim(t *testing.T) {
	if *seed >= 0 {
		o := options{echo: os.Stderr}
		if *logs {
			o.log = os.Stderr
		}
		report(t, inBubble(t, uint64(*seed), o), nil)
		return
	}
	n := *seeds
	if n == 0 {
		n = 200 // make sim has many more, after the tests that have deadlines
		if testing.Short() {
			n = 20
		}
	}
	began := time.Now()
	var next, clean, events atomic.Int64
	var simulated atomic.Int64
	var failures sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !t.Failed() {
				s := next.Add(1) - 1
				if s >= int64(n) {
					return
				}
				r := inBubble(t, uint64(*first+s), options{})
				events.Add(int64(r.events))
				simulated.Add(int64(r.simulated))
				if len(r.violations) == 0 {
					clean.Add(1)
					continue
				}
				failures.Lock()
				report(t, r, shrink(t, r))
				failures.Unlock()
			}
		})
	}
	workers.Wait()
	took := time.Since(began)
	t.Logf("%d seeds are clean, of %d: %.1f a second, %d events, %s simulated", clean.Load(), n, float64(clean.Load())/took.Seconds(), events.Load(), time.Duration(simulated.Load()).Round(time.Second))
}

// shrink leaves out what faults it can, as long as an invariant is still broken, and gives those that are needed.
func shrink(t *testing.T, r result) []fault {
	t.Helper()
	without := map[int]bool{}
	for size := (len(r.faults) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(r.faults); from += size {
			try := maps.Clone(without)
			for i := from; i < min(from+size, len(r.faults)); i++ {
				try[i] = true
			}
			if len(try) > len(without) && len(inBubble(t, r.seed, options{without: try}).violations) > 0 {
				without = try
			}
		}
	}
	var needed []fault
	for i, f := range r.faults {
		if !without[i] {
			needed = append(needed, f)
		}
	}
	return needed
}

// report fails the test with what a person needs to find the cause.
func report(t *testing.T, r result, needed []fault) {
	t.Helper()
	if len(r.violations) == 0 {
		return
	}
	var s strings.Builder
	fmt.Fprintf(&s, "seed %d breaks invariants:\n", r.seed)
	for _, v := range r.violations {
		fmt.Fprintf(&s, "  %s\n", v)
	}
	fmt.Fprintf(&s, "the last events:\n  %s\n", strings.Join(r.lines[max(0, len(r.lines)-60):], "\n  "))
	if needed != nil {
		fmt.Fprintln(&s, "of the faults, these are enough:")
		for _, f := range needed {
			fmt.Fprintf(&s, "  %s\n", f)
		}
	}
	fmt.Fprintf(&s, "to see all of it: go test ./test/sim -run TestSim -seed %d", r.seed)
	t.Error(s.String())
}

// TestReplay: a seed determines the whole run.
func TestReplay(t *testing.T) {
	for s := range uint64(5) {
		a := inBubble(t, s+1000, options{})
		b := inBubble(t, s+1000, options{})
		if a.sum != b.sum {
			i := 0
			for i < min(len(a.lines), len(b.lines)) && a.lines[i] == b.lines[i] {
				i++
			}
			t.Errorf("seed %d: two runs differ, among the last lines first at\n  %v\n  %v", s+1000, at(a.lines, i), at(b.lines, i))
		}
	}
}

func at(lines []string, i int) []string {
	return slices.Clone(lines[min(i, len(lines)):min(i+3, len(lines))])
}
