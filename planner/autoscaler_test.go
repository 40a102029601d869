package planner

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// A scaleHistory is what an autoscaler did, round by round.
type scaleHistory struct {
	least, most int
	up, down    int // pods a period
	period      time.Duration
	window      time.Duration // before pods go
	times       []time.Time
	pods        []int
	began       time.Time // when the window last began
}

// TestAutoscalerKeepsItsRules lets use rise and fall, get lost and come back, and leaders change with and without a record:
// the number of pods is always within its bounds, never changes faster than the policies say, changes by nothing while
// nothing is known, and falls only when it was too high for as long as the window says.
func TestAutoscalerKeepsItsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := scaleHistory{
			least: rapid.IntRange(1, 3).Draw(t, "min"), up: rapid.IntRange(1, 5).Draw(t, "up"), down: rapid.IntRange(1, 5).Draw(t, "down"),
			period: time.Duration(rapid.IntRange(1, 8).Draw(t, "period")) * defaultScalePeriod,
			window: time.Duration(rapid.IntRange(0, 8).Draw(t, "window")) * defaultScalePeriod,
		}
		h.most = h.least + rapid.IntRange(0, 12).Draw(t, "more")
		w := h.world(t)
		for range rapid.IntRange(1, 40).Draw(t, "rounds") {
			h.happen(t, w)
			if err := w.round(); err != nil {
				t.Fatal(err)
			}
			h.check(t, w)
		}
	})
}

func (h *scaleHistory) world(t *rapid.T) *world {
	w := newWorld()
	seconds := int(h.period.Seconds())
	var objects []api.Object
	for _, line := range []string{
		"deployment web image=web:v1 replicas=" + strconv.Itoa(h.least) + " memory=100Mi",
		fmt.Sprintf("autoscaler web min=%d max=%d memoryShare=50 up=pods:%d/%d down=window:%d,pods:%d/%d",
			h.least, h.most, h.up, seconds, int(h.window.Seconds()), h.down, seconds),
	} {
		o, err := parseObject(line)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	w.commit("c1", objects)
	if _, err := w.settle(); err != nil {
		t.Fatal(err)
	}
	h.begin(w)
	return w
}

// begin is where nothing is known of before.
func (h *scaleHistory) begin(w *world) {
	h.times, h.pods, h.began = []time.Time{w.Now}, []int{len(w.Pods)}, w.Now.Add(defaultScalePeriod)
}

// start is how many pods there were when a period began that ends now.
func (h *scaleHistory) start(now time.Time) int {
	n := h.pods[0]
	for i, at := range h.times {
		if now.Sub(at) >= h.period {
			n = h.pods[i]
		}
	}
	return n
}

// happen is what befalls the fleet before a round.
func (h *scaleHistory) happen(t *rapid.T, w *world) {
	switch rapid.SampledFrom([]string{"use", "use", "use", "nothing", "some", "same", "same", "forget", "twice"}).Draw(t, "what") {
	case "use":
		share := strconv.Itoa(rapid.IntRange(0, 300).Draw(t, "share"))
		for i := range w.Pods {
			if err := w.use(&w.Pods[i], share); err != nil {
				t.Fatal(err)
			}
		}
	case "nothing":
		clear(w.shares)
	case "some":
		for i := range w.Pods {
			if rapid.Bool().Draw(t, "silent") {
				delete(w.shares, w.Pods[i].UID)
			}
		}
	case "forget": // a leader that finds no report: it has no window, and knows of no change
		w.Scales, w.Rollouts = nil, nil
		h.begin(w)
	case "twice": // plans between rounds change nothing
		before := len(w.Pods)
		w.Now = w.Now.Add(time.Second)
		w.measure()
		w.carryOut(w.compute())
		if len(w.Pods) != before {
			t.Fatalf("%d pods, then %d between two rounds", before, len(w.Pods))
		}
		w.Now = w.Now.Add(-time.Second)
	}
}

func (h *scaleHistory) check(t *rapid.T, w *world) {
	n := len(w.Pods)
	if n < h.least || n > h.most {
		t.Fatalf("%d pods, out of %d to %d", n, h.least, h.most)
	}
	before := h.pods[len(h.pods)-1]
	if start := h.start(w.Now); n > before && n-start > h.up || n < before && start-n > h.down {
		t.Fatalf("from %d to %d pods in %s, and from %d before, where %d may come and %d go", start, n, h.period, before, h.up, h.down)
	}
	h.times, h.pods = append(h.times, w.Now), append(h.pods, n)
	if n != before && len(w.Usage) == 0 {
		t.Fatalf("from %d to %d pods, and nothing is known of their use", before, n)
	}
	if n < before && w.Now.Sub(h.began) < h.window {
		t.Fatalf("from %d to %d pods %s after the window of %s began", before, n, w.Now.Sub(h.began), h.window)
	}
	for _, r := range w.Scales[0].Recommendations {
		if age := w.Now.Sub(r.Time); age < h.window && n < before && r.Pods > n && r.Pods >= before {
			t.Fatalf("from %d to %d pods, though %d were asked for %s ago", before, n, r.Pods, age)
		}
	}
}
