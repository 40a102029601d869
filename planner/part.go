package planner

import (
	"maps"
	"reflect"
	"time"

	"headway.dev/headway/api"
)

// A part is what one workload put into a plan, with what that was made of. The next plan has it as it is, if it would come out
// the same. Only a part that does nothing can be kept so: what stops and makes pods is planned by what all others do.
type part struct {
	reads
	made bool
	pods uint64 // their version
	// previous is what the plan before said of the workload; told is that it said anything.
	previous api.WorkloadStatus
	told     bool
	scaled   int // by an autoscaler; -1 is that there is none
	back     string
	// drains and nodes are versions of what is known of nodes.
	drains, nodes uint64

	plan     Plan // without actions
	weighing weighing
	serving  api.Digest
}

// part plans one workload, or takes over what the last plan had for it.
func (p *pass) part(k *part, w *workload) {
	if !k.made || !p.stands(k, w) {
		p.remake(k, w)
	}
	p.plan.Workloads = append(p.plan.Workloads, k.plan.Workloads...)
	p.plan.Problems = append(p.plan.Problems, k.plan.Problems...)
	maps.Copy(p.plan.Blobs, k.plan.Blobs)
	p.plan.Wake, p.plan.settles = sooner(p.plan.Wake, k.plan.Wake), sooner(p.plan.settles, k.plan.settles)
	if k.serving != "" {
		p.serving[w.Ref] = k.serving
	} else {
		delete(p.serving, w.Ref)
	}
	if k.weighing.weight > 0 {
		p.canaries[w.Ref] = k.weighing
	}
	if p.want.order != nil { // the workload's own status is the last one that its kind has told
		p.states[w.Ref] = &k.plan.Workloads[len(k.plan.Workloads)-1]
	}
}

// stands reports whether a workload's part would come out the same.
func (p *pass) stands(k *part, w *workload) bool {
	before := p.previous[w.Ref]
	return k.same(&p.in) && k.pods == p.seen.versionOf(w.Ref) &&
		k.drains == p.memory.nodes.drains && (k.nodes == p.memory.nodes.version || !k.reads.nodes) &&
		k.scaled == p.scaledTo(w.Ref) && k.back == p.goesBack(w) &&
		k.told == (before != nil) && (before == nil || sameStatus(&k.previous, before))
}

// remake plans a workload anew.
func (p *pass) remake(k *part, w *workload) {
	*k = part{
		made: true, pods: p.seen.versionOf(w.Ref), drains: p.memory.nodes.drains, nodes: p.memory.nodes.version,
		scaled: p.scaledTo(w.Ref), back: p.goesBack(w),
	}
	if before := p.previous[w.Ref]; before != nil {
		k.previous, k.told = *before, true
	}
	whole := p.plan
	p.plan = Plan{Actions: whole.Actions, Blobs: map[api.Digest][]byte{}}
	done := p.read(&k.reads)
	p.workload(*w)
	done()
	whole.Actions, p.plan.Actions = p.plan.Actions, nil
	k.plan, p.plan = p.plan, whole
	k.weighing, k.serving = p.canaries[w.Ref], p.serving[w.Ref]
}

// scaledTo is how many pods an autoscaler makes of a workload; -1 is that none does.
func (p *pass) scaledTo(ref api.Ref) int {
	if n, ok := p.scaled[ref]; ok {
		return n
	}
	return -1
}

// sameStatus reports whether two plans said the same of a workload.
func sameStatus(a, b *api.WorkloadStatus) bool {
	if *a == *b {
		return true
	}
	if a.Failure == b.Failure && a.Canary == b.Canary || !reflect.DeepEqual(a.Failure, b.Failure) || !reflect.DeepEqual(a.Canary, b.Canary) {
		return false
	}
	same := *a
	same.Failure, same.Canary = b.Failure, b.Canary
	return same == *b
}

// sooner gives the earlier of two times, where zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
