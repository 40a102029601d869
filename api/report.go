package api

import "time"

// A Report is what the controller says of the whole: what is deployed, and what stands in the way. Written by the controller.
type Report struct {
	Time time.Time `json:"time"`
	Term Term      `json:"term"`
	// Repository and Head are what is followed and its newest commit; Deployed is the commit in force.
	Repository string   `json:"repository"`
	Head       Revision `json:"head"`
	Deployed   Revision `json:"deployed"`
	// Refused explains why Head is not in force as a whole, or why the repository cannot be read.
	Refused []Problem `json:"refused,omitempty"`
	// Waiting is a leader that has not planned yet, and knows of what runs only what this report repeats.
	Waiting bool `json:"waiting,omitempty"`
	// Objects is the blob with the objects in force: a JSON array of Object.
	Objects   Digest           `json:"objects,omitempty"`
	Workloads []WorkloadStatus `json:"workloads"` // ordered by ref
	// Quarantined are commits that were reverted because they failed: they are not taken again. Ordered.
	Quarantined []string `json:"quarantined,omitempty"`
	// Jobs are what is known of the runs of Jobs, those of CronJobs among them.
	Jobs []JobRecord `json:"jobs,omitempty"` // ordered by job and template
	// Scales are what autoscalers have made of their targets.
	Scales  []ScaleRecord `json:"scales,omitempty"` // ordered by target
	Pending []PendingPod  `json:"pending,omitempty"`
	// Fleet is how many nodes are known to have joined; a store that was lost may not know them all.
	Fleet int             `json:"fleet,omitempty"`
	Nodes []NodeCondition `json:"nodes"` // ordered by name
}

// A Problem is a diagnostic for a person: where, what, and what to do.
type Problem struct {
	Source  Position `json:"source,omitzero"`
	Ref     Ref      `json:"ref,omitzero"`
	Field   string   `json:"field,omitempty"`
	Message string   `json:"message"`
	Warning bool     `json:"warning,omitempty"`
}

// String gives file:line:col: ref: field: message, leaving out what is unknown.
func (p Problem) String() string {
	s := ""
	if p.Source.File != "" {
		s += p.Source.String() + ": "
	}
	if !p.Ref.IsZero() {
		s += p.Ref.String() + ": "
	}
	if p.Field != "" {
		s += p.Field + ": "
	}
	return s + p.Message
}

// WorkloadStatus is the state of one workload: a Deployment, a Job, a bare Pod.
type WorkloadStatus struct {
	Ref       Ref    `json:"ref"`
	Commit    string `json:"commit"`   // the commit that last changed its template
	Template  Digest `json:"template"` // the template wanted
	Desired   int    `json:"desired"`
	Updated   int    `json:"updated"` // pods of the wanted template
	Ready     int    `json:"ready"`
	Available int    `json:"available"` // ready for minReadySeconds
	// Active, Succeeded and Failed count the runs of a Job; Desired is how many are to succeed.
	Active    int `json:"active,omitempty"`
	Succeeded int `json:"succeeded,omitempty"`
	Failed    int `json:"failed,omitempty"`
	// Outdated counts pods of other templates that have not been told to stop.
	Outdated int `json:"outdated,omitempty"`
	// Replaced is, of a declared Pod, how many in a row have ended and been made again.
	Replaced int `json:"replaced,omitempty"`
	// Stable is the template of the newest rollout that was completed: the last one known to be good. Empty is none.
	Stable Digest `json:"stable,omitempty"`
	// Paused is a rollout that the author holds, or that cannot go on as declared: pods are replaced and scaled, none is
	// updated, and no deadline runs.
	Paused bool `json:"paused,omitempty"`
	// Waits is what the workload waits for before its pods are made of Template, for a person: "waits for Job/shop/migrate,
	// which is running". Empty is nothing.
	Waits string `json:"waits,omitempty"`
	// Back says why the pods are to have the last good template in place of Template, by which the pods are counted then: in an
	// atomic cluster another workload of the same commit failed, or this one. Empty is that they are not.
	Back string `json:"back,omitempty"`
	// Canary is how far a rollout in steps is; nil is one without, or that is over.
	Canary *CanaryStatus `json:"canary,omitempty"`
	// Cause is why the rollout to Template began, for a person: "template changed: image api:v1 -> api:v2".
	Cause string `json:"cause,omitempty"`
	// Began is when the rollout to Template began, Progressed when it last came closer to its end, and Completed when it
	// first got there.
	Began      time.Time `json:"began,omitzero"`
	Progressed time.Time `json:"progressed,omitzero"`
	Completed  time.Time `json:"completed,omitzero"`
	// State is Complete, Progressing or Stalled; Reason says why, in a sentence.
	State  RolloutState `json:"state"`
	Reason string       `json:"reason"`
	// Failure is set from when a rollout is given up, until another template is wanted or its pods come round.
	Failure *RolloutFailure `json:"failure,omitempty"`
}

// A RolloutFailure says why a rollout was given up: what a commit that reverts it tells.
type RolloutFailure struct {
	Since time.Time `json:"since"`
	// Commit is the one that asked for what failed.
	Commit   string        `json:"commit"`
	Reason   string        `json:"reason"`             // a sentence
	Evidence []PodEvidence `json:"evidence,omitempty"` // ordered by pod, at most a few
}

// PodEvidence is what a failing pod shows.
type PodEvidence struct {
	Pod       Ref    `json:"pod"`
	Node      string `json:"node,omitempty"`
	Container string `json:"container,omitempty"`
	Reason    string `json:"reason,omitempty"` // one word, as the node has it: CrashLoopBackOff
	Message   string `json:"message,omitempty"`
	ExitCode  int    `json:"exitCode,omitempty"`
	Restarts  int    `json:"restarts,omitempty"`
}

// RolloutState is how far a workload is.
type RolloutState string

// The states of a rollout.
const (
	RolloutComplete    RolloutState = "Complete"
	RolloutProgressing RolloutState = "Progressing"
	RolloutStalled     RolloutState = "Stalled" // past its deadline; needs a commit
)

// A PendingPod has no node yet; Reason explains what every node lacks.
type PendingPod struct {
	Pod    Ref    `json:"pod"`
	Owner  Ref    `json:"owner"`
	Reason string `json:"reason"`
}

// NodeCondition is the controller's view of a node.
type NodeCondition struct {
	Name     string    `json:"name"`
	State    string    `json:"state"` // Ready, Cordoned or Lost
	Reason   string    `json:"reason,omitempty"`
	LastSeen time.Time `json:"lastSeen,omitzero"`
	Pods     int       `json:"pods"`
}
