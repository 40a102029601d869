package api

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawSet(t *rapid.T) (SlotSet, map[int]bool) {
	var s SlotSet
	want := map[int]bool{}
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 20), 0, 12).Draw(t, "numbers") {
		s, want[n] = s.With(n), true
	}
	return s, want
}

func TestSlotSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, inA := drawSet(t)
		b, inB := drawSet(t)
		before := append(SlotSet{}, a...)
		union := a.Union(b)
		count, next := 0, 0
		for n := range 25 {
			if union.Has(n) != (inA[n] || inB[n]) {
				t.Fatalf("%v and %v give %v, which is wrong about %d", a, b, union, n)
			}
			if union.Has(n) {
				count, next = count+1, n+1
			}
		}
		if union.Len() != count || union.Next() != next {
			t.Fatalf("%v has %d numbers up to %d, want %d up to %d", union, union.Len(), union.Next(), count, next)
		}
		for i := 1; i < len(union); i++ {
			if union[i][0] <= union[i-1][1]+1 {
				t.Fatalf("%v has ranges that touch", union)
			}
		}
		if len(a) > 0 && !reflect.DeepEqual(a, before) {
			t.Fatalf("%v was changed", before)
		}
	})
}

func drawRecord(t *rapid.T) JobRecord {
	at := func(name string) time.Time {
		if s := rapid.IntRange(0, 5).Draw(t, name); s > 0 {
			return time.Unix(int64(s), 0)
		}
		return time.Time{}
	}
	r := JobRecord{Started: at("started"), LastFailure: at("failure"), Commit: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "commit")}
	r.Succeeded, _ = drawSet(t)
	for range rapid.IntRange(0, 2).Draw(t, "incarnations") {
		s, _ := drawSet(t)
		r.Failed = append(r.Failed, s)
	}
	if r.Outcome = rapid.SampledFrom([]JobOutcome{"", JobComplete, JobFailed}).Draw(t, "outcome"); r.Outcome != "" {
		r.Finished, r.Reason = at("finished"), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "reason")
	}
	return r
}

// TestJobRecordsMerge joins records in any order and as often as one likes, with the same result.
func TestJobRecordsMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawRecord(t), drawRecord(t), drawRecord(t)
		all := a.Merge(b).Merge(c)
		for _, other := range []JobRecord{c.Merge(b).Merge(a), a.Merge(b.Merge(c)), all.Merge(b), all.Merge(all)} {
			if !reflect.DeepEqual(all, other) {
				t.Fatalf("%+v\ndiffers from\n%+v", all, other)
			}
		}
	})
}
