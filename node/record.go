package node

import (
	"time"

	"headway.dev/headway/api"
)

// A record is what the node keeps of a pod: all that a new agent must know to go on as the one before it would have.
type record struct {
	Placement api.Placement `json:"placement"`
	// Created is when the node first heard of the pod.
	Created time.Time `json:"created,omitzero"`
	// Stopping is when the pod was told to end; zero until then. It is never taken back.
	Stopping time.Time `json:"stopping,omitzero"`
	// Outcome is how the pod ended by itself. It is never taken back either: a pod that has ended does not run again.
	Outcome outcome `json:"outcome,omitzero"`
	// Cleared is set when nothing of a pod that has ended is left on the machine but this record and its logs.
	Cleared bool `json:"cleared,omitempty"`
	// IP is the pod's address, once it has one.
	IP string `json:"ip,omitempty"`
	// Boot names the start of the machine in which the pod ran last.
	Boot string `json:"boot,omitempty"`
	// Initialized is when the last of the init containers was done, in that start of the machine.
	Initialized time.Time `json:"initialized,omitzero"`
	// Started is when the last of the pod's main containers had first started.
	Started    time.Time `json:"started,omitzero"`
	ReadySince time.Time `json:"readySince,omitzero"`
	// Devices are those that each container has, by its name.
	Devices    map[string][]string `json:"devices,omitempty"`
	Conditions []api.PodCondition  `json:"conditions,omitempty"`
	// Runs holds, by container, what became of its newest run so far, and Ends how it ended last.
	Runs map[string]runNote `json:"runs,omitempty"`
	Ends map[string]end     `json:"ends,omitempty"`
}

// An outcome is how a pod ended by itself.
type outcome struct {
	Phase   api.PodPhase `json:"phase"` // Succeeded or Failed; empty as long as it has not ended
	Reason  string       `json:"reason,omitempty"`
	Message string       `json:"message,omitempty"`
	Since   time.Time    `json:"since"`
	// AtOnce is set when its processes have next to no time to end.
	AtOnce bool `json:"atOnce,omitempty"`
}

// A runNote is what is kept of one run of a container, so that a restart of the daemon takes no pod out of the routes
// and runs no hook again that is known to be done.
type runNote struct {
	ID        string `json:"id"`
	Ready     bool   `json:"ready,omitempty"`     // its readiness probe succeeds
	Begun     bool   `json:"begun,omitempty"`     // its startup probe succeeded
	PostStart bool   `json:"postStart,omitempty"` // the hook is done
	Ending    ending `json:"ending,omitzero"`
}

// An ending is how far a run has been brought to its end.
type ending struct {
	Since time.Time     `json:"since"` // zero: it is not to end
	Grace time.Duration `json:"grace"` // how long its processes have to end by themselves
	Why   string        `json:"why"`   // for a person: "after it failed its liveness probe"
	// Shutdown is set when it ends for no fault of its own, but because the machine does.
	Shutdown bool `json:"shutdown,omitempty"`
	// PreStop is set when that hook is over, however it ended.
	PreStop bool      `json:"preStop,omitempty"`
	Told    time.Time `json:"told,omitzero"` // when its first process was asked to end
}

// An end of a container counts once, however often the daemon restarts after it. It stands in for the container when
// that is gone from the machine.
type end struct {
	ID       string    `json:"id"`
	Attempt  int       `json:"attempt"`
	Failures int       `json:"failures"` // ends in a row after short runs, this one included
	ExitCode int       `json:"exitCode"`
	OOM      bool      `json:"oom,omitempty"`
	Lost     bool      `json:"lost,omitempty"` // how it ended is not known
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished"`
	// Unstarted is why its process could not be started; empty if it ran.
	Unstarted string `json:"unstarted,omitempty"`
	// Asked is why it was told to end, if it was; Shutdown as for its ending.
	Asked    string `json:"asked,omitempty"`
	Shutdown bool   `json:"shutdown,omitempty"`
	// Message is what it wrote as its termination message, and Said the last line of its log.
	Message string `json:"message,omitempty"`
	Said    string `json:"said,omitempty"`
	// Void is set when the machine was started anew after it: an init container's work may be lost.
	Void bool `json:"void,omitempty"`
	// Before is how the run before ended.
	Before *end `json:"before,omitempty"`
}

// container is the end as a container that is still on the machine.
func (e end) container(name string) Container {
	return Container{
		ID: e.ID, Name: name, Attempt: e.Attempt, State: ContainerExited, ExitCode: e.ExitCode, OOM: e.OOM, Lost: e.Lost,
		Started: e.Started, Finished: e.Finished,
	}
}

// reboot takes note that the machine was started anew since the record was written, if it was.
func (r *record) reboot(boot string) {
	if r.Boot == boot {
		return
	}
	if r.Boot != "" && r.Outcome.Phase == "" {
		r.Initialized = time.Time{}
		for name, e := range r.Ends {
			e.Void = true
			r.Ends[name] = e
		}
	}
	r.Boot = boot
}

// noteOf is what is kept of the current run of a container.
func (p *pod) noteOf(c *container) runNote {
	if n := p.record.Runs[c.spec.Name]; c.id != "" && n.ID == c.id {
		return n
	}
	return runNote{ID: c.id}
}

// note changes what is kept of the current run of a container.
func (p *pod) note(c *container, change func(*runNote)) {
	before := p.noteOf(c)
	after := before
	change(&after)
	if after == before {
		return
	}
	if p.record.Runs == nil {
		p.record.Runs = map[string]runNote{}
	}
	p.record.Runs[c.spec.Name], p.dirty = after, true
}
