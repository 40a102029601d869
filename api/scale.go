package api

import "time"

// A ScaleRecord is what an autoscaler has made of its target, and what it has to remember for its windows. Written by the
// planner; the controller keeps it in its report. Lost, the target goes on with the pods that it has.
type ScaleRecord struct {
	Autoscaler Ref `json:"autoscaler"`
	Target     Ref `json:"target"`
	// Replicas is how many pods the target is to have, since Time, when that was last reckoned.
	Replicas int       `json:"replicas"`
	Time     time.Time `json:"time"`
	Reason   string    `json:"reason"` // for a person
	// Recommendations are what the metrics asked for, Changes by how many pods the target was made larger or smaller; the
	// oldest first.
	Recommendations []ScaleStep `json:"recommendations,omitempty"`
	Changes         []ScaleStep `json:"changes,omitempty"`
}

// A ScaleStep is a number of pods at a time.
type ScaleStep struct {
	Time time.Time `json:"time"`
	Pods int       `json:"pods"`
}
