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
	// Metrics are what was last measured, in the order in which Git declares them.
	Metrics    []ScaleMetric    `json:"metrics,omitempty"`
	Conditions []ScaleCondition `json:"conditions,omitempty"` // ordered by type
}

// A ScaleStep is a number of pods at a time.
type ScaleStep struct {
	Time time.Time `json:"time"`
	Pods int       `json:"pods"`
}

// A ScaleMetric is what a metric of an autoscaler came to.
type ScaleMetric struct {
	Resource  string `json:"resource"`            // cpu or memory
	Container string `json:"container,omitempty"` // empty: the whole pod
	// Known is that it could be measured; without it there is no more to tell.
	Known bool `json:"known"`
	// Utilization is what the pods use of what they ask for, in percent, where the target is one; Average what each uses, in
	// cores or bytes.
	Utilization int     `json:"utilization,omitempty"`
	Average     float64 `json:"average,omitempty"`
}

// A ScaleCondition is something that holds of an autoscaler or not, in Kubernetes' words: AbleToScale, ScalingActive,
// ScalingLimited.
type ScaleCondition struct {
	Type    string    `json:"type"`
	True    bool      `json:"true"`
	Since   time.Time `json:"since"` // when it last began or ceased to hold
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
}
