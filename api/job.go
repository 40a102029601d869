package api

import (
	"cmp"
	"slices"
	"time"
)

// A JobRecord is what is known of the runs of one template of a Job: enough that nothing runs twice. Written by the planner.
// The controller keeps it in its report, and hands it to nodes with their assignments; they keep it with their inventory and
// report it back, so that it outlives a control plane.
//
// Two records of one Job and template tell parts of one story, whichever is newer: Merge joins them.
type JobRecord struct {
	Job      Ref    `json:"job"`
	Template Digest `json:"template"`
	Commit   string `json:"commit,omitempty"` // the one that first asked for it
	// Started is when the Job began, or went on after it was suspended. Finished is set with Outcome.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Succeeded are the slots of which a run succeeded. The slot of an Indexed Job's pod is its index; that of another
	// Job's pod is a number that no other of its runs has.
	Succeeded SlotSet `json:"succeeded,omitempty"`
	// Failed and Ignored have the slots whose runs failed, or ended and count for nothing, at the number of the incarnation.
	Failed  []SlotSet `json:"failed,omitempty"`
	Ignored []SlotSet `json:"ignored,omitempty"`
	// FailedIndexes are the indexes that are given up.
	FailedIndexes SlotSet `json:"failedIndexes,omitempty"`
	// LastSuccess and LastFailure are when a run last ended so.
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	LastFailure time.Time `json:"lastFailure,omitzero"`
	// Outcome is how the Job as a whole ended; empty as long as it has not. Reason says why, for a person.
	Outcome JobOutcome `json:"outcome,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}

// A JobOutcome is how a Job ended.
type JobOutcome string

// The outcomes of a Job.
const (
	JobComplete JobOutcome = "Complete"
	JobFailed   JobOutcome = "Failed"
	JobReplaced JobOutcome = "Replaced" // by the next run of its CronJob
)

// Merge joins what two records of one Job and template know. It makes no difference which comes first, nor how often one does.
func (r JobRecord) Merge(o JobRecord) JobRecord {
	r.Commit = mergeText(r.Commit, o.Commit)
	r.Started = mergeTime(r.Started, o.Started, -1)
	r.LastSuccess = mergeTime(r.LastSuccess, o.LastSuccess, 1)
	r.LastFailure = mergeTime(r.LastFailure, o.LastFailure, 1)
	r.Succeeded = r.Succeeded.Union(o.Succeeded)
	r.FailedIndexes = r.FailedIndexes.Union(o.FailedIndexes)
	r.Failed = mergeSets(r.Failed, o.Failed)
	r.Ignored = mergeSets(r.Ignored, o.Ignored)
	if o.Outcome != "" && (r.Outcome == "" || cmp.Or(
		o.Finished.Compare(r.Finished), cmp.Compare(o.Outcome, r.Outcome), cmp.Compare(o.Reason, r.Reason)) < 0) {
		r.Outcome, r.Finished, r.Reason = o.Outcome, o.Finished, o.Reason
	}
	return r
}

// mergeText takes the lesser of two texts that are there.
func mergeText(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}

// mergeTime takes the earlier of two times that are known for -1, and the later one for 1.
func mergeTime(a, b time.Time, which int) time.Time {
	if a.IsZero() || !b.IsZero() && b.Compare(a) == which {
		return b
	}
	return a
}

func mergeSets(a, b []SlotSet) []SlotSet {
	var merged []SlotSet
	for i := range max(len(a), len(b)) {
		var s SlotSet
		if i < len(a) {
			s = a[i]
		}
		if i < len(b) {
			s = s.Union(b[i])
		}
		merged = append(merged, s)
	}
	return merged
}

// A SlotSet is a set of numbers as ranges: first and last of each, ordered, none next to another. It is never changed.
type SlotSet [][2]int

// Has reports whether the set has the number.
func (s SlotSet) Has(n int) bool {
	i, ok := slices.BinarySearchFunc(s, n, func(r [2]int, n int) int { return cmp.Compare(r[0], n) })
	return ok || i > 0 && n <= s[i-1][1]
}

// Len counts the numbers.
func (s SlotSet) Len() int {
	n := 0
	for _, r := range s {
		n += r[1] - r[0] + 1
	}
	return n
}

// Next is the number after the greatest; 0 for the empty set.
func (s SlotSet) Next() int {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1][1] + 1
}

// With gives the set and one more number.
func (s SlotSet) With(n int) SlotSet { return s.Union(SlotSet{{n, n}}) }

// Union gives the numbers of both sets.
func (s SlotSet) Union(o SlotSet) SlotSet {
	if len(o) == 0 {
		return s
	}
	all := append(slices.Clone(s), o...)
	slices.SortFunc(all, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	joined := all[:1]
	for _, r := range all[1:] {
		if last := &joined[len(joined)-1]; r[0] <= last[1]+1 {
			last[1] = max(last[1], r[1])
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}
