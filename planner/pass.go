package planner

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"headway.dev/headway/api"
)

// wanted is what the desired objects come to, whatever is observed: it is made once for all plans of the same objects.
type wanted struct {
	objects   int        // the version of the declared ones
	workloads []workload // ordered by ref
	order     *order     // nil: nothing says what it depends on
	sequence  []workload // the workloads, each after what it depends on
	owners    map[api.Ref]bool
	services  []service        // ordered by ref
	declared  map[api.Ref]bool // the services
	storage   *storage
	quotas    []api.Object // the resource quotas, ordered by ref
	budgets   []budget     // ordered by ref
	replicas  map[api.Ref]int
	scalers   map[api.Ref]api.Object // the autoscalers, by their target
	contents  *contents              // of the config maps and secrets
	// protected are the workloads that are not to be deleted without an approval.
	protected map[api.Ref]bool
	groups    map[api.Ref]string // the workloads that are promoted together, by group
	// templates are those of the workloads, and counts what there is more of than quotas let be; nil until they are asked for.
	templates map[api.Digest]*api.PodTemplate
	counts    []api.Problem
}

// A workload is an object that has pods, with the template of these.
type workload struct {
	api.Object
	template Template
	// err says why no pod can be made of the template; told is that its problem is told elsewhere.
	err  error
	told bool
}

// A service is a Service object.
type service struct {
	ref    api.Ref
	source api.Position
	spec   *corev1.ServiceSpec
}

func newWanted(objects []api.Object) *wanted {
	w := &wanted{owners: map[api.Ref]bool{}, declared: map[api.Ref]bool{}, protected: map[api.Ref]bool{}, replicas: map[api.Ref]int{}, scalers: map[api.Ref]api.Object{}}
	w.order, w.storage, w.groups = newOrder(objects), newStorage(objects), groupsOf(objects)
	configs, ranges := ConfigsOf(objects), limitRangesOf(objects)
	w.contents = &contents{configs: configs, digests: map[api.Ref]api.Digest{}, blobs: map[api.Digest][]byte{}}
	for _, o := range objects {
		if _, _, ok := podsOf(o.Value); ok {
			template, err := templateOf(o, configs, ranges[o.Ref.Namespace])
			if err == nil {
				err = w.storage.check(o, &template.Pod.Spec)
			}
			told := false
			if w.order != nil && w.order.cycles[o.Ref] != "" {
				err, told = errors.New(w.order.cycles[o.Ref]), true
			}
			if n, ok := replicasOf(o); ok {
				w.replicas[o.Ref] = n
			}
			w.workloads = append(w.workloads, workload{Object: o, template: template, err: err, told: told})
			w.owners[o.Ref] = true
			if isProtected(o) {
				w.protected[o.Ref] = true
			}
		}
		switch v := o.Value.(type) {
		case *corev1.Service:
			w.services = append(w.services, service{ref: o.Ref, source: o.Source, spec: &v.Spec})
			w.declared[o.Ref] = true
		case *autoscalingv2.HorizontalPodAutoscaler:
			target := api.Ref{Kind: v.Spec.ScaleTargetRef.Kind, Namespace: o.Ref.Namespace, Name: v.Spec.ScaleTargetRef.Name}
			if other, twice := w.scalers[target]; !twice || o.Ref.Compare(other.Ref) < 0 {
				w.scalers[target] = o
			}
		case *corev1.ResourceQuota:
			w.quotas = append(w.quotas, o)
		case *policyv1.PodDisruptionBudget:
			w.addBudget(o.Ref, &v.Spec)
		}
	}
	slices.SortStableFunc(w.workloads, func(a, b workload) int { return a.Ref.Compare(b.Ref) })
	w.sequence = w.order.arrange(w.workloads)
	slices.SortStableFunc(w.quotas, func(a, b api.Object) int { return a.Ref.Compare(b.Ref) })
	slices.SortStableFunc(w.budgets, func(a, b budget) int { return a.ref.Compare(b.ref) })
	slices.SortStableFunc(w.services, func(a, b service) int { return a.ref.Compare(b.ref) })
	return w
}

// template gives the template of a workload by its digest; nil is none.
func (w *wanted) template(digest api.Digest) *api.PodTemplate {
	if w.templates == nil {
		w.templates = make(map[api.Digest]*api.PodTemplate, len(w.workloads))
		for i := range w.workloads {
			t := &w.workloads[i].template
			w.templates[t.Digest] = t.Pod
		}
	}
	return w.templates[digest]
}

// A pass is the making of one plan: its input by the keys it is looked up by, and the plan as far as it has come.
type pass struct {
	in       Input // but for the pods, which are as seen
	seen     *observed
	want     *wanted
	memory   *memory
	reads    *reads // of what is being made
	previous map[api.Ref]*api.WorkloadStatus
	states   map[api.Ref]*api.WorkloadStatus // of what has been planned, where something depends on anything
	nodes    []*Node                         // ordered by name
	draining map[string]bool                 // the nodes that are
	stopped  map[*Pod]bool                   // by this plan
	stops    map[api.Ref]bool                // the owners of those
	holds    map[api.Ref]bool                // what Git does not hold, but is not deleted
	zones    zones
	canaries map[api.Ref]weighing   // the rollouts in steps
	serving  map[api.Ref]api.Digest // the templates that serve alone, of blue-green rollouts
	usage    map[string]Usage       // the newest by pod UID; nil until it is asked for
	scaled   map[api.Ref]int        // what autoscalers make of their targets
	quotas   map[string][]*quota    // by namespace, those that were asked for
	budgets  []budget               // with what is left of each
	failed   map[promotion]api.Ref  // those of which a rollout failed, and which one
	sites    *sites                 // nil until a pod with claims is made
	written  writtenEndpoints       // nil until they are asked for
	bindings *bindings              // of claims and declared volumes
	ownKnown bool                   // the bindings know of directories that no node has reported yet
	refused  map[api.Ref]bool       // the workloads whose refusal has been told
	// records are what is known of Jobs, kept what the plan keeps of them; runRefs are the known runs of CronJobs.
	records, kept map[recordKey]api.JobRecord
	recordsOf     map[api.Ref][]*api.JobRecord
	runRefs       map[api.Ref][]api.Ref
	plan          Plan
}

func newPass(in Input, m *memory, seen *observed) *pass {
	p := &pass{
		in:       in,
		seen:     seen,
		want:     m.want,
		memory:   m,
		reads:    &reads{},
		previous: make(map[api.Ref]*api.WorkloadStatus, len(in.Rollouts)),
		states:   map[api.Ref]*api.WorkloadStatus{},
		nodes:    m.nodes.sorted,
		draining: m.nodes.draining,
		stopped:  map[*Pod]bool{},
		stops:    map[api.Ref]bool{},

		holds:     map[api.Ref]bool{},
		canaries:  map[api.Ref]weighing{},
		scaled:    map[api.Ref]int{},
		serving:   map[api.Ref]api.Digest{},
		quotas:    map[string][]*quota{},
		budgets:   slices.Clone(m.want.budgets),
		refused:   map[api.Ref]bool{},
		bindings:  bindingsOf(&in, seen),
		records:   map[recordKey]api.JobRecord{},
		kept:      map[recordKey]api.JobRecord{},
		recordsOf: map[api.Ref][]*api.JobRecord{},
		runRefs:   map[api.Ref][]api.Ref{},
		plan: Plan{
			Actions:   []Action{},
			Routes:    make([]api.Route, 0, len(m.want.services)),
			Workloads: make([]api.WorkloadStatus, 0, len(m.want.workloads)),
			Blobs:     map[api.Digest][]byte{},
		},
	}
	for i := range in.Rollouts {
		p.previous[in.Rollouts[i].Ref] = &in.Rollouts[i]
		if c := in.Rollouts[i].Canary; c != nil && c.Serving != "" {
			p.serving[in.Rollouts[i].Ref] = c.Serving // until this pass knows better
		}
	}
	p.mergeRecords()
	p.findFailed()
	return p
}

// comparePods is a total order of observed pods; beyond the UID only a pod that two nodes report differs.
func comparePods(a, b *Pod) int {
	if c := a.Pod.Compare(b.Pod); c != 0 { // one by one: of most pairs the name tells
		return c
	}
	if c := cmp.Compare(a.UID, b.UID); c != 0 {
		return c
	}
	return cmp.Compare(a.Node, b.Node)
}

// workload plans one workload by its kind.
func (p *pass) workload(w workload) {
	switch v := w.Value.(type) {
	case *appsv1.Deployment:
		p.deployment(w, v)
	case *appsv1.ReplicaSet:
		p.replicaSet(w, v.Spec.Replicas, v.Spec.MinReadySeconds)
	case *corev1.ReplicationController:
		p.replicaSet(w, v.Spec.Replicas, v.Spec.MinReadySeconds)
	case *appsv1.StatefulSet:
		p.statefulSet(w, v)
	case *appsv1.DaemonSet:
		p.daemonSet(w, v)
	case *batchv1.Job:
		p.job(w, v)
	case *batchv1.CronJob:
		p.cronJob(w, v)
	case *corev1.Pod:
		p.barePod(w, v)
	}
}

// stop plans the end of a pod. A pod that is stopping is left to it.
func (p *pass) stop(pod *Pod, class Class, reason string) {
	if isStopping(pod) || p.stopped[pod] {
		return
	}
	p.stopped[pod], p.stops[pod.Owner], p.reads.alone = true, true, true
	p.plan.Actions = append(p.plan.Actions, Action{
		Kind: StopPod, Pod: pod.PodIdentity, Class: class, Reason: reason, Commit: p.in.Revision.Commit,
	})
}

// create plans a new pod of the template.
func (p *pass) create(id api.PodIdentity, template Template, reason string) {
	p.add(Action{Pod: id, Reason: reason}, template)
}

// add plans a new pod of the template, which the action says more of.
func (p *pass) add(a Action, template Template) {
	p.reads.alone = true
	if !p.bind(&a, template.Pod) || !p.admit(&a, template.Pod) {
		return
	}
	a.Kind, a.Class = CreatePod, ClassMissing
	a.Pod.Template, a.Template = template.Digest, template.Pod
	a.own.protected, a.own.dependsOn = p.want.protects(a.Pod.Owner), p.want.dependencies(a.Pod.Owner)
	a.own.live = p.liveOf(a.Pod.Owner.Namespace, template.Pod)
	a.Pod.Commit, a.Commit = p.in.Revision.Commit, p.in.Revision.Commit
	p.plan.Actions = append(p.plan.Actions, a)
	maps.Copy(p.plan.Blobs, template.Blobs)
}

// wakeAt asks for another plan at t, unless t is past: a rollout goes on then.
func (p *pass) wakeAt(t time.Time) {
	p.wakeLater(t)
	if !p.passed(t) {
		p.plan.settles = sooner(p.plan.settles, t)
	}
}

// wakeLater asks for another plan at t, unless t is past: for what comes again and again, and is part of no rollout.
func (p *pass) wakeLater(t time.Time) {
	if !p.passed(t) {
		p.plan.Wake = sooner(p.plan.Wake, t)
	}
}

func (p *pass) problem(ref api.Ref, source api.Position, field, message string) {
	p.plan.Problems = append(p.plan.Problems, api.Problem{Ref: ref, Source: source, Field: field, Message: message})
}

func (p *pass) finish() Plan {
	p.promote()
	p.finishRecords()
	slices.SortFunc(p.plan.Scales, func(a, b api.ScaleRecord) int { return a.Target.Compare(b.Target) })
	byRef := func(a, b api.WorkloadStatus) int { return a.Ref.Compare(b.Ref) }
	if !slices.IsSortedFunc(p.plan.Workloads, byRef) {
		slices.SortStableFunc(p.plan.Workloads, byRef)
	}
	p.plan.Actions = sortedActions(p.plan.Actions)
	return p.plan
}

// sortedActions puts stops first. It sorts pointers: an action is large, and there may be one for every pod.
func sortedActions(actions []Action) []Action {
	order := make([]*Action, len(actions))
	for i := range actions {
		order[i] = &actions[i]
	}
	slices.SortStableFunc(order, compareActions)
	sorted := make([]Action, len(actions))
	for i, a := range order {
		sorted[i] = *a
	}
	return sorted
}

func compareActions(a, b *Action) int {
	if c := -cmp.Compare(a.Kind, b.Kind); c != 0 { // stop before create
		return c
	}
	if a.Class != b.Class {
		return cmp.Compare(a.Class.order(), b.Class.order())
	}
	if c := a.Pod.Owner.Compare(b.Pod.Owner); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.Pod.Slot, b.Pod.Slot),
		cmp.Compare(a.Pod.Incarnation, b.Pod.Incarnation),
		cmp.Compare(a.Pod.Pod.Name, b.Pod.Pod.Name), // of a DaemonSet, by node
		cmp.Compare(a.Pod.UID, b.Pod.UID),
	)
}
