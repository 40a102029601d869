package controller

import (
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
	"headway.dev/headway/scheduler"
)

// A PreviewInput is two revisions and where they would meet.
type PreviewInput struct {
	From, To PreviewRevision
	// Fleet is what the bus holds; zero is an empty fleet, on which no pod finds a node.
	Fleet State
	// ServiceCIDR is the range of the services' addresses; empty is the controller's default.
	ServiceCIDR string
	Now         time.Time
}

// A PreviewRevision is one revision, compiled.
type PreviewRevision struct {
	Revision api.Revision
	Objects  []api.Object // ordered by ref
	// Complete is a commit that evaluates: without it nothing is pruned.
	Complete bool
}

// A Preview is what would change from one revision to another. Equal input gives an equal preview.
type Preview struct {
	From    api.Revision           `json:"from"`
	To      api.Revision           `json:"to"`
	Objects []planner.ObjectChange `json:"objects"`
	Steps   []PreviewStep          `json:"steps"`
	// Together are the workloads that the step to To changes together, or not at all.
	Together []planner.Group `json:"together,omitempty"`
	// Held are objects that Git has dropped and that stay nonetheless, each with why, and what to write.
	Held []planner.Deletion `json:"held,omitempty"`
	// Scales are the workloads among the changed objects whose replicas are not Git's to say.
	Scales []PreviewScale `json:"scales,omitempty"`
	// Problems are objects that could not be carried out as declared.
	Problems []api.Problem `json:"problems,omitempty"`
}

// A PreviewScale is a workload whose replicas an autoscaler sets, between Min and Max; it has Replicas now.
type PreviewScale struct {
	Target     api.Ref `json:"target"`
	Autoscaler api.Ref `json:"autoscaler"`
	Min        int     `json:"min"`
	Max        int     `json:"max"`
	Replicas   int     `json:"replicas"`
}

// A PreviewStep is what is done together. Each step begins when what the one before it did has come to pass.
type PreviewStep struct {
	// After is how long the rules of rollouts make the step wait since the beginning, at least.
	After   time.Duration   `json:"after"`
	Actions []PreviewAction `json:"actions"`
	// Updates change files of pods that run on.
	Updates []planner.Update `json:"updates,omitempty"`
}

// A PreviewAction is an action, and for a creation the node it would get.
type PreviewAction struct {
	planner.Action
	// Node is where the pod runs, or would run; empty for one that no node can take.
	Node string `json:"node,omitempty"`
	// NodeReason says why that node, or what every node lacks; empty for a stop.
	NodeReason string `json:"nodeReason,omitempty"`
}

// Empty reports whether there is nothing to do.
func (p Preview) Empty() bool { return len(p.Objects) == 0 && len(p.Steps) == 0 }

// NewPreview rehearses what the step from one revision to another would do. The first one is rehearsed to its end before,
// on the fleet as it is, so that what is still under way there, or broken, is not laid at the door of the second.
func NewPreview(in PreviewInput) (Preview, error) {
	objects, err := planner.Diff(in.From.Objects, in.To.Objects)
	if err != nil {
		return Preview{}, err
	}
	preview := Preview{From: in.From.Revision, To: in.To.Revision, Objects: objects, Steps: []PreviewStep{}}
	setDefault(&in.ServiceCIDR, defaultServiceCIDR)

	s := newState(limits{serviceCIDR: in.ServiceCIDR}, nil, 0, in.Fleet, in.Now)
	s.enact(in.From.outcome(), in.Now)
	s.inForce = in.From.Objects
	s.adopt()
	s.look(in.Now)
	r := rehearsal{nodes: s.schedulable(), placed: map[string]string{}, namespaces: namespaceLabels(in.To.Objects)}
	for _, p := range s.allPods() {
		r.placed[p.placement.UID] = p.placement.Node
	}
	r.running = s.running()

	input := s.input(in.Now)
	input.Pods = s.pods.keeper.Pods()
	if input, _, err = r.rehearse(input); err != nil {
		return Preview{}, err
	}
	s.enact(in.To.outcome(), in.Now)
	r.nodes, input.Nodes = s.schedulable(), s.plannable()
	input.Revision, input.Desired, input.Prune = s.desired.head, s.desired.objects, s.desired.mayPrune()
	if input, preview.Steps, err = r.rehearse(input); err != nil {
		return Preview{}, err
	}
	preview.Together = planner.Together(in.To.Objects, input.Rollouts, in.To.Revision.Commit)
	preview.Problems, preview.Held = r.problems, r.held
	preview.Scales = previewScales(r.scales, in.To.Objects, objects)
	if h := s.holdOf(in.To.outcome(), in.Now); h != (hold{}) {
		preview.Problems = append(preview.Problems, api.Problem{Message: h.reason, Warning: true})
	}
	return preview, nil
}

// previewScales tells of the autoscalers that change, or whose targets do.
func previewScales(records []api.ScaleRecord, objects []api.Object, changes []planner.ObjectChange) []PreviewScale {
	var all []PreviewScale
	for _, r := range records {
		changed := slices.ContainsFunc(changes, func(c planner.ObjectChange) bool { return c.Ref == r.Target || c.Ref == r.Autoscaler })
		i := slices.IndexFunc(objects, func(o api.Object) bool { return o.Ref == r.Autoscaler })
		if !changed || i < 0 {
			continue
		}
		if h, ok := objects[i].Value.(*autoscalingv2.HorizontalPodAutoscaler); ok {
			least, most := planner.ScaleBounds(&h.Spec)
			all = append(all, PreviewScale{Target: r.Target, Autoscaler: r.Autoscaler, Min: least, Max: most, Replicas: r.Replicas})
		}
	}
	return all
}

func (r PreviewRevision) outcome() outcome {
	asked, _ := settingsOf(r.Objects)
	return outcome{head: r.Revision, objects: r.Objects, whole: r.Complete, settings: asked}
}

// A rehearsal follows pods from step to step, and the room they take.
type rehearsal struct {
	nodes    []scheduler.Node
	running  []scheduler.Running
	placed   map[string]string // node by UID
	problems []api.Problem     // of the last plan
	held     []planner.Deletion
	scales   []api.ScaleRecord // of the last plan
	// namespaces are the labels of namespaces, by name.
	namespaces map[string]map[string]string
}

// rehearse carries out plans until there is nothing to do, placing what they create. It gives the fleet at the end.
func (r *rehearsal) rehearse(in planner.Input) (planner.Input, []PreviewStep, error) {
	rehearsed, err := planner.Rehearse(in)
	if err != nil {
		return in, nil, err
	}
	steps := make([]PreviewStep, len(rehearsed.Steps))
	for i, step := range rehearsed.Steps {
		steps[i] = PreviewStep{After: step.After, Actions: r.place(step.Actions), Updates: step.Updates}
	}
	end := rehearsed.Final
	for i := range end.Pods {
		end.Pods[i].Node = r.placed[end.Pods[i].UID]
	}
	r.problems, r.scales = rehearsed.Last.Problems, rehearsed.Last.Scales
	r.held = slices.DeleteFunc(slices.Clone(rehearsed.Last.Deletions), func(d planner.Deletion) bool { return d.Held == "" })
	return end, steps, nil
}

// place finds nodes for what one step creates. What the step stops still takes room then.
func (r *rehearsal) place(actions []planner.Action) []PreviewAction {
	out := make([]PreviewAction, len(actions))
	var unplaced []scheduler.Pod
	creations := map[string]int{} // index by UID
	stopped := map[string]bool{}
	for i, a := range actions {
		out[i] = PreviewAction{Action: a, Node: r.placed[a.Pod.UID]}
		if a.Kind == planner.StopPod {
			stopped[a.Pod.UID] = true
			continue
		}
		creations[a.Pod.UID] = i
		unplaced = append(unplaced, unplacedPod(a))
	}
	if len(unplaced) > 0 {
		for _, d := range scheduler.Compute(scheduler.Input{Nodes: r.nodes, Running: r.running, Pods: unplaced, Namespaces: r.namespaces}) {
			a := &out[creations[d.Pod.UID]]
			a.Node, a.NodeReason = d.Node, d.Reason
			if d.Node == "" {
				continue
			}
			placement := a.Placement()
			placement.Node, placement.Volumes = d.Node, a.Bound(d.Volumes)
			r.placed[d.Pod.UID] = d.Node
			r.running = append(r.running, occupied(placement, a.Template))
		}
	}
	r.running = slices.DeleteFunc(r.running, func(p scheduler.Running) bool { return stopped[p.UID] })
	return out
}
