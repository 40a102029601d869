package planner

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestRandomHistories lets commits, failures and the loss of nodes come in any order, and holds every plan on the way
// against what planning promises.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		commits := 0
		anyPod := func(t *rapid.T) *Pod {
			if len(w.Pods) == 0 {
				t.Skip("no pods")
			}
			return &w.Pods[rapid.IntRange(0, len(w.Pods)-1).Draw(t, "pod")]
		}
		aliveOnly := func(t *rapid.T) *Pod {
			pod := anyPod(t)
			if isStopping(pod) || isEnded(pod) {
				t.Skip("not running")
			}
			return pod
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				commits++
				w.Prune = rapid.IntRange(0, 3).Draw(t, "prune") > 0
				w.commit(fmt.Sprintf("c%d", commits), drawObjects(t))
			},
			"apply": func(t *rapid.T) {
				plan := w.compute()
				checkPlan(t, w.Input, plan)
				for _, a := range plan.Actions {
					if a.Kind == CreatePod && w.succeeded[a.Pod.UID] {
						t.Fatalf("%s succeeded before", a.Pod.Pod)
					}
				}
				w.carryOut(plan)
			},
			"ready":   func(t *rapid.T) { w.ready(aliveOnly(t)) },
			"unready": func(t *rapid.T) { w.unready(aliveOnly(t), "CrashLoopBackOff") },
			"evicted": func(t *rapid.T) {
				pod := aliveOnly(t)
				w.unready(pod, "Evicted")
				pod.Phase = api.PodFailed
			},
			"allReady": func(*rapid.T) {
				for i := range w.Pods {
					if pod := &w.Pods[i]; isLive(pod) {
						w.ready(pod)
					}
				}
			},
			"gone": func(t *rapid.T) {
				if !isStopping(anyPod(t)) {
					t.Skip("it was not told to stop")
				}
				w.Pods = slices.DeleteFunc(w.Pods, func(pod Pod) bool { return isStopping(&pod) && !pod.Lost })
			},
			"node": func(t *rapid.T) {
				n := w.node(fmt.Sprintf("n%d", rapid.IntRange(1, 3).Draw(t, "node")))
				what := rapid.SampledFrom([]string{"lost", "fenced", "back", "drained", "taken"}).Draw(t, "what")
				if err := w.observeNode(n, []string{what}); err != nil {
					t.Fatal(err)
				}
			},
			"ended": func(t *rapid.T) {
				pod := aliveOnly(t)
				if pod.Owner.Kind != "Job" {
					t.Skip("it runs on")
				}
				w.unready(pod, "")
				pod.Phase, pod.Finished = api.PodFailed, w.Now
				if rapid.Bool().Draw(t, "well") {
					pod.Phase = api.PodSucceeded
					w.succeeded[pod.UID] = true
				}
			},
			// The control plane is lost: what is left is what pods tell, and the records that nodes keep.
			"forget": func(*rapid.T) { w.Routes, w.Rollouts, w.Templates, w.Deployed = nil, nil, nil, nil },
			"time": func(t *rapid.T) {
				w.Now = w.Now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
			},
			"": func(t *rapid.T) {
				plan := w.compute()
				checkPlan(t, w.Input, plan)
				checkShuffled(t, w.Input, plan)
				checkEnd(t, w.Input)
			},
		})
	})
}

// drawObjects declares two deployments, a pod and what they need, or leaves some of it out.
func drawObjects(t *rapid.T) []api.Object {
	var lines []string
	sometimes := func(name, word string) string {
		if rapid.IntRange(0, 4).Draw(t, name) == 0 {
			return " " + word
		}
		return ""
	}
	for _, name := range []string{"web", "api"} {
		if rapid.IntRange(0, 9).Draw(t, "gone") == 0 {
			continue
		}
		limit := rapid.SampledFrom([]string{"0", "1", "2", "25%", "50%", "100%"})
		lines = append(lines, fmt.Sprintf("deployment %s image=i:%d replicas=%d surge=%s unavailable=%s deadline=60",
			name, rapid.IntRange(1, 3).Draw(t, "image"), rapid.IntRange(0, 6).Draw(t, "replicas"),
			limit.Draw(t, "surge"), limit.Draw(t, "unavailable"))+
			sometimes("minReady", "minReady=20")+sometimes("recreate", "recreate")+sometimes("paused", "paused")+
			sometimes("config", "config=settings")+sometimes("files", "optionalFiles=settings")+sometimes("live", "live"))
		lines = append(lines, "service "+name+" app="+name+" target=http")
	}
	lines = append(lines, fmt.Sprintf("pod job image=j:%d restart=%s",
		rapid.IntRange(1, 2).Draw(t, "job"), rapid.SampledFrom([]string{"Always", "Never"}).Draw(t, "restart")))
	lines = append(lines, fmt.Sprintf("statefulset db image=i:%d replicas=%d unavailable=%d partition=%d",
		rapid.IntRange(1, 2).Draw(t, "db"), rapid.IntRange(0, 4).Draw(t, "replicas"),
		rapid.IntRange(1, 2).Draw(t, "unavailable"), rapid.IntRange(0, 1).Draw(t, "partition"))+
		sometimes("minReady", "minReady=20")+sometimes("parallel", "parallel")+sometimes("start", "start=1"))
	lines = append(lines, fmt.Sprintf("daemonset agent image=i:%d surge=%d unavailable=%d",
		rapid.IntRange(1, 2).Draw(t, "agent"), rapid.IntRange(0, 1).Draw(t, "surge"), rapid.IntRange(0, 2).Draw(t, "unavailable")))
	lines = append(lines, fmt.Sprintf("job load image=i:%d parallelism=%d completions=3",
		rapid.IntRange(1, 2).Draw(t, "load"), rapid.IntRange(0, 3).Draw(t, "parallelism"))+
		sometimes("suspended", "suspended")+sometimes("indexed", "indexed")+sometimes("replace", "replace=Failed"))
	lines = append(lines, "cronjob tick image=i:1 schedule=*_*_*_*_* keep=1 concurrency="+
		rapid.SampledFrom([]string{"Allow", "Forbid", "Replace"}).Draw(t, "concurrency"))
	for _, name := range []string{"web", "db"} {
		if rapid.IntRange(0, 3).Draw(t, "budget") == 0 {
			lines = append(lines, "budget "+name+" unavailable=1 app="+name)
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "declared") > 0 {
		lines = append(lines, fmt.Sprintf("configmap settings n=%d", rapid.IntRange(1, 2).Draw(t, "settings")))
	}
	objects := make([]api.Object, len(lines))
	for i, line := range lines {
		o, err := parseObject(line)
		if err != nil {
			t.Fatal(err)
		}
		objects[i] = o
	}
	return objects
}

// A tally counts the pods of one owner.
type tally struct{ live, available, stopped, created, old, current int }

// checkPlan holds one plan against the rules.
func checkPlan(t *rapid.T, in Input, plan Plan) {
	untouched := Input{Pods: slices.Clone(in.Pods), Routes: slices.Clone(in.Routes), Desired: slices.Clone(in.Desired)}
	if again := Compute(in); !reflect.DeepEqual(again, plan) {
		t.Fatalf("planned twice, it differs:\n%s\n%s", toJSON(t, plan), toJSON(t, again))
	}
	if !reflect.DeepEqual(in.Pods, untouched.Pods) || !reflect.DeepEqual(in.Routes, untouched.Routes) {
		t.Fatal("the input was changed")
	}
	checkIdentities(t, in, plan)
	for _, o := range in.Desired {
		switch v := o.Value.(type) {
		case *appsv1.Deployment:
			checkDeployment(t, in, plan, o, v)
		case *appsv1.StatefulSet:
			checkStatefulSet(t, in, plan, o, v)
		case *appsv1.DaemonSet:
			checkDaemonSet(t, in, plan, o, v)
		case *batchv1.Job:
			checkJob(t, in, plan, o, v)
		}
	}
	checkUndesired(t, in, plan)
	checkRoutes(t, in, plan)
	after := Apply(in, plan)
	ended := map[string]bool{} // what a Job's pod came to is on record now, and it may be cleared away
	for i := range after.Pods {
		ended[after.Pods[i].UID] = isEnded(&after.Pods[i]) && after.Pods[i].Owner.Kind == "Job"
	}
	again := Compute(after)
	if len(again.Updates) > 0 {
		t.Fatalf("applied, there is more to update:\n%s", toJSON(t, again.Updates))
	}
	for _, u := range plan.Updates {
		for _, c := range u.Live.ConfigMaps {
			if c.Digest != "" && plan.Blobs[c.Digest] == nil {
				t.Fatalf("%s: the blob %s is missing", u.Pod.Pod, c.Digest.Short())
			}
		}
	}
	for _, a := range again.Actions {
		if a.Kind != StopPod || !ended[a.Pod.UID] {
			t.Fatalf("applied, there is more to do:\n%s\nafter\n%s", toJSON(t, a), toJSON(t, plan.Actions))
		}
	}
	if !plan.Wake.IsZero() && !plan.Wake.After(in.Now) {
		t.Fatalf("wake at %s, which is past", plan.Wake)
	}
}

// checkIdentities finds no pod that exists already, and content for every new one.
func checkIdentities(t *rapid.T, in Input, plan Plan) {
	uids, slots := map[string]bool{}, map[string]bool{}
	slot := func(id api.PodIdentity) string {
		if id.Owner.Kind == "DaemonSet" {
			return id.Pod.Name
		}
		return fmt.Sprint(id.Owner, id.Template, id.Slot)
	}
	stopped := map[string]bool{}
	for _, a := range plan.Actions {
		if a.Reason == "" || a.Commit != in.Revision.Commit {
			t.Fatalf("%+v has no reason, or the wrong commit", a)
		}
		if a.Kind == StopPod {
			stopped[a.Pod.UID] = true
		}
	}
	for i := range in.Pods {
		pod := &in.Pods[i]
		uids[pod.UID] = true
		uids[pod.Pod.String()] = uids[pod.Pod.String()] || pod.Owner.Kind != "Pod" && (!pod.Lost || !pod.Fenced)
		if isLive(pod) && !stopped[pod.UID] {
			slots[slot(pod.PodIdentity)] = true
		}
	}
	for _, a := range plan.Actions {
		if a.Kind != CreatePod {
			continue
		}
		if uids[a.Pod.UID] || uids[a.Pod.Pod.String()] || slots[slot(a.Pod)] {
			t.Fatalf("%+v exists already", a.Pod)
		}
		uids[a.Pod.UID], uids[a.Pod.Pod.String()], slots[slot(a.Pod)] = true, true, true
		sum := sha256.Sum256(plan.Blobs[a.Pod.Template])
		if hex.EncodeToString(sum[:]) != string(a.Pod.Template) {
			t.Fatalf("the blob of template %s is missing or wrong", a.Pod.Template)
		}
	}
}

// checkDeployment holds a Deployment to its limits.
func checkDeployment(t *rapid.T, in Input, plan Plan, o api.Object, d *appsv1.Deployment) {
	replicas := int(*d.Spec.Replicas)
	surge, unavailable := rollingLimits(d.Spec.Strategy.RollingUpdate, replicas)
	minReady := time.Duration(d.Spec.MinReadySeconds) * time.Second
	template, blocked := TemplateOf(o, ConfigsOf(in.Desired))
	stopping := map[string]bool{}
	var n tally
	for _, a := range plan.Actions {
		switch {
		case a.Pod.Owner != o.Ref:
		case a.Kind == StopPod:
			stopping[a.Pod.UID] = true
		default:
			n.created++
			if a.Pod.Template != template.Digest && !d.Spec.Paused && blocked == nil {
				t.Fatalf("%+v is made of a template that is not wanted", a.Pod)
			}
		}
	}
	draining, drained := map[string]bool{}, false
	for _, node := range in.Nodes {
		draining[node.Name] = node.Draining
	}
	availableAfter, oldThere := 0, false
	for i := range in.Pods {
		pod := &in.Pods[i]
		if pod.Owner != o.Ref {
			continue
		}
		oldThere = oldThere || pod.Template != template.Digest && !pod.Lost
		if !isLive(pod) {
			continue
		}
		n.live++
		available := pod.Ready && !pod.ReadySince.Add(minReady).After(in.Now)
		if available {
			n.available++
		}
		if stopping[pod.UID] {
			n.stopped++
		} else if available {
			availableAfter++
		}
		if pod.Template == template.Digest && !draining[pod.Node] {
			n.current++
		} else {
			n.old++
		}
		drained = drained || draining[pod.Node]
	}
	after := n.live - n.stopped + n.created
	switch {
	case d.Spec.Paused || blocked != nil:
		if !drained && (n.stopped > max(0, n.live-replicas) || n.created > max(0, replicas-n.live)) {
			t.Fatalf("%s is held, but %+v", o.Ref, n)
		}
	case d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		if n.created > 0 && oldThere {
			t.Fatalf("%s makes new pods while old ones are there", o.Ref)
		}
		if after > replicas {
			t.Fatalf("%s would have %d pods of %d", o.Ref, after, replicas)
		}
	default:
		if floor := max(0, replicas-unavailable); availableAfter < min(floor, n.available) {
			t.Fatalf("%s would have %d available pods of %d, where %d must be", o.Ref, availableAfter, n.available, floor)
		}
		if after > replicas+surge {
			t.Fatalf("%s would have %d pods, where %d may be", o.Ref, after, replicas+surge)
		}
		if n.old == 0 && (n.stopped > max(0, n.live-replicas) || n.current-n.stopped+n.created != replicas) {
			t.Fatalf("%s only scales to %d, but %+v", o.Ref, replicas, n)
		}
		if n.stopped > max(0, n.live-max(0, replicas-unavailable)) {
			t.Fatalf("%s stops more than may go: %+v", o.Ref, n)
		}
	}
}

// checkUndesired finds every pod stopped whose owner is gone, or none without leave to prune.
func checkUndesired(t *rapid.T, in Input, plan Plan) {
	desired := map[api.Ref]bool{}
	for _, o := range in.Desired {
		desired[o.Ref] = true
	}
	stopping := map[string]bool{}
	for _, a := range plan.Actions {
		if a.Kind == StopPod {
			stopping[a.Pod.UID] = true
		}
	}
	for i := range in.Pods {
		pod := &in.Pods[i]
		cron, _, _ := cronOf(pod.Owner)
		if !desired[pod.Owner] && !desired[cron] && !isStopping(pod) && stopping[pod.UID] != in.Prune {
			t.Fatalf("%s, whose owner is gone: stopped is %v, prune is %v", pod.Pod, stopping[pod.UID], in.Prune)
		}
	}
}

// checkRoutes finds all that are ready, and nobody else, behind each service, and no address twice.
func checkRoutes(t *rapid.T, in Input, plan Plan) {
	stopping := map[string]bool{}
	for _, a := range plan.Actions {
		if a.Kind == StopPod {
			stopping[a.Pod.UID] = true
		}
	}
	addresses := map[string]bool{}
	declared := map[api.Ref]bool{}
	for _, o := range in.Desired {
		declared[o.Ref] = true
	}
	current := map[api.Ref]string{}
	for _, r := range in.Routes {
		current[r.Service] = r.ClusterIP
	}
	for _, r := range plan.Routes {
		if r.ClusterIP == "" || addresses[r.ClusterIP] || current[r.Service] != "" && current[r.Service] != r.ClusterIP {
			t.Fatalf("%s has address %q: none, one of another, or not the one it had", r.Service, r.ClusterIP)
		}
		addresses[r.ClusterIP] = true
		if !declared[r.Service] {
			if in.Prune {
				t.Fatalf("%s is gone from Git, but has a route", r.Service)
			}
			continue
		}
		want := map[string]bool{}
		for i := range in.Pods {
			pod := &in.Pods[i]
			if pod.Labels["app"] == r.Service.Name && isLive(pod) && pod.Ready && pod.IP != "" && !stopping[pod.UID] {
				want[pod.UID] = true
			}
		}
		got := map[string]bool{}
		for _, e := range r.Endpoints {
			got[e.UID] = true
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s leads to %v, want %v", r.Service, got, want)
		}
	}
}

// checkShuffled plans the same from the same in another order.
func checkShuffled(t *rapid.T, in Input, plan Plan) {
	in.Desired = rapid.Permutation(in.Desired).Draw(t, "desired")
	in.Pods = rapid.Permutation(in.Pods).Draw(t, "pods")
	in.Routes = rapid.Permutation(in.Routes).Draw(t, "routes")
	in.Rollouts = rapid.Permutation(in.Rollouts).Draw(t, "rollouts")
	in.Jobs = rapid.Permutation(append(slices.Clone(in.Jobs), in.Jobs...)).Draw(t, "jobs")
	in.Nodes = rapid.Permutation(in.Nodes).Draw(t, "nodes")
	in.Deployed = rapid.Permutation(in.Deployed).Draw(t, "deployed")
	if again := Compute(in); !bytes.Equal(toJSON(t, again), toJSON(t, plan)) {
		t.Fatalf("shuffled, it differs:\n%s\n%s", toJSON(t, plan), toJSON(t, again))
	}
}

// checkEnd rehearses to the end, where all is as Git has it.
func checkEnd(t *rapid.T, in Input) {
	r, err := Rehearse(in)
	if err != nil {
		t.Fatal(err)
	}
	if next := Compute(r.Final); len(next.Actions) > 0 || !next.settles.IsZero() {
		t.Fatalf("at the end there is more to do: %s", toJSON(t, next))
	}
	configs := ConfigsOf(in.Desired)
	for _, o := range in.Desired {
		d, ok := o.Value.(*appsv1.Deployment)
		if !ok || d.Spec.Paused {
			continue
		}
		template, err := TemplateOf(o, configs)
		if err != nil {
			continue
		}
		var got []int
		for i := range r.Final.Pods {
			pod := &r.Final.Pods[i]
			if pod.Owner == o.Ref && isLive(pod) && pod.Ready && pod.Template == template.Digest {
				got = append(got, pod.Slot)
			} else if pod.Owner == o.Ref {
				t.Fatalf("%s is left over: %+v", pod.Pod, pod)
			}
		}
		if len(got) != int(*d.Spec.Replicas) {
			t.Fatalf("%s ends with slots %v, want %d", o.Ref, got, *d.Spec.Replicas)
		}
	}
	lost := slices.ContainsFunc(in.Nodes, func(n Node) bool { return n.Lost })
	for _, s := range r.Last.Workloads {
		if s.State == api.RolloutProgressing && !s.Paused && !mayWait(s.Ref, lost) {
			t.Fatalf("at the end %s is still on its way: %s", s.Ref, s.Reason)
		}
	}
}

// mayWait reports whether the workload may be on its way for ever: a StatefulSet waits for what a lost node runs, a Job for the
// time after a failure, or because none of its pods may run.
func mayWait(ref api.Ref, lost bool) bool {
	return ref.Kind == "StatefulSet" && lost || ref.Kind == "Job"
}

func toJSON(t *rapid.T, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestNamesAreLabels makes names of any owner: valid ones, of which no two are the same.
func TestNamesAreLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner := api.Ref{
			Kind: "Deployment", Namespace: "shop",
			Name: rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,80}[a-z0-9])?`).Draw(t, "name"),
		}
		digest := api.Digest(strings.Repeat(rapid.StringMatching(`[0-9a-f]{4}`).Draw(t, "digest"), 16))
		other := owner
		other.Name += "x"
		seen := map[string]bool{}
		for _, o := range []api.Ref{owner, other} {
			for slot := range 40 {
				for incarnation := range 4 {
					id := identify(o, digest, slot, incarnation)
					if len(id.Pod.Name) > 63 || strings.Trim(id.Pod.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || id.Pod.Name[0] == '-' {
						t.Fatalf("%q is not a label", id.Pod.Name)
					}
					if seen[id.Pod.Name] || seen[id.UID] {
						t.Fatalf("%q or %s was given before", id.Pod.Name, id.UID)
					}
					seen[id.Pod.Name], seen[id.UID] = true, true
				}
			}
		}
	})
}
