package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

func TestParseAmounts(t *testing.T) {
	got, err := ParseAmounts("memory.available<100Mi, nodefs.available<10%,imagefs.available<12.5%", "<")
	want := map[Signal]Amount{MemoryAvailable: {Bytes: 100 << 20}, NodeFSAvailable: {Share: 0.1}, ImageFSAvailable: {Share: 0.125}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v", got, err)
	}
	if none, err := ParseAmounts("", "="); err != nil || len(none) != 0 {
		t.Errorf("of nothing: %v, %v", none, err)
	}
	for text, why := range map[string]string{
		"memory.available=1Mi":                       "is no threshold",
		"pid.available<10%":                          "is no threshold",
		"memory.available<-1":                        "cannot be less than nothing",
		"memory.available<101%":                      "is not a share",
		"memory.available<NaN%":                      "is not a share",
		"memory.available<much":                      "is neither a quantity",
		"memory.available<1Mi,memory.available<10Mi": "is given twice",
	} {
		if _, err := ParseAmounts(text, "<"); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestRank holds any pods against the three rules.
func TestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.Custom(func(t *rapid.T) consumer {
			return consumer{
				uid:      rapid.StringMatching("[a-z]{8}").Draw(t, "uid"),
				priority: rapid.SampledFrom([]int32{-10, 0, 0, 5, leastCritical - 1, leastCritical, leastCritical + 1000}).Draw(t, "priority"),
				used:     rapid.Int64Range(0, 10).Draw(t, "used"), asked: rapid.Int64Range(0, 10).Draw(t, "asked"),
			}
		})
		all := rapid.SliceOfNDistinct(gen, 0, 12, func(c consumer) string { return c.uid }).Draw(t, "pods")
		ranked := rank(all)
		if again := rank(rapid.Permutation(all).Draw(t, "shuffled")); fmt.Sprint(again) != fmt.Sprint(ranked) {
			t.Fatalf("in another order of the same pods: %v, %v", ranked, again)
		}
		critical := 0
		for _, c := range all {
			if c.priority >= leastCritical {
				critical++
			}
		}
		if len(ranked)+critical != len(all) {
			t.Fatalf("%d of %d are ranked, %d are critical", len(ranked), len(all), critical)
		}
		for i := 1; i < len(ranked); i++ {
			a, b := ranked[i-1], ranked[i]
			aOver, bOver := a.used > a.asked, b.used > b.asked
			switch {
			case bOver && !aOver:
				t.Fatalf("%+v keeps to its request and goes before %+v", a, b)
			case aOver == bOver && a.priority > b.priority:
				t.Fatalf("%+v goes before %+v of less priority", a, b)
			case aOver == bOver && a.priority == b.priority && a.used-a.asked < b.used-b.asked:
				t.Fatalf("%+v goes before %+v that is farther above its request", a, b)
			}
		}
	})
}

// TestStrain lets a supply go up and down at will: what is short is always below its threshold or on its way back over it,
// and pressure neither begins without a shortage nor ends before the transition is over.
func TestStrain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Eviction{
			Hard:       map[Signal]Amount{MemoryAvailable: {Bytes: 100}, NodeFSAvailable: {Share: 0.1}},
			Reclaim:    map[Signal]Amount{MemoryAvailable: {Bytes: 50}},
			Transition: time.Minute,
		}
		now, s := time.Unix(1_000_000, 0), strain{}
		var last time.Time // when memory was last short
		for range rapid.IntRange(1, 30).Draw(t, "measurements") {
			now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
			left := rapid.Int64Range(0, 300).Draw(t, "left")
			was := s.short[MemoryAvailable]
			var short []shortage
			s, short = s.measured(now, e, Supplies{Memory: Supply{left, 1000}, NodeFS: Supply{500, 1000}, ImageFS: Supply{0, 1000}})
			is := left < 100 || was && left < 150
			if (len(short) == 1 && short[0].signal == MemoryAvailable) != is || len(short) > 1 {
				t.Fatalf("with %d left and short before: %t, short are %v", left, was, short)
			}
			if is {
				last = now
			}
			pressed := slices.ContainsFunc(s.pressures, func(p api.Pressure) bool { return p.Condition == corev1.NodeMemoryPressure })
			if want := !last.IsZero() && now.Before(last.Add(time.Minute)); pressed != want || len(s.pressures) > 1 {
				t.Fatalf("at %v, short last at %v: %v", now, last, s.pressures)
			}
			if pressed && s.pressures[0].Since.After(last) {
				t.Fatalf("pressure since %v, short last at %v", s.pressures[0].Since, last)
			}
		}
	})
}

func TestConsumer(t *testing.T) {
	spec := &corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}}
	c := newConsumer("u", 0, spec, corev1.ResourceEphemeralStorage, map[string]int64{"a": 2 << 20}, 1<<20)
	if c.used != 3<<20 || c.asked != 0 {
		t.Errorf("%+v", c)
	}
	const want = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 512Mi. " +
		"Container a was using 2Mi, request is 0, has larger consumption of ephemeral-storage."
	if got := c.reason(shortage{NodeFSAvailable, 512 << 20, 1 << 30}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
