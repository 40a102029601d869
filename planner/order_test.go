package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestOrderOfRandomHistories lets commits change who depends on whom, and things happen to pods. No pod of a new template is
// made before all that it depends on has been healthy under that commit, and without a cycle nothing waits for ever.
func TestOrderOfRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		commits := 0
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				commits++
				w.commit(fmt.Sprintf("c%d", commits), drawOrdered(t))
			},
			"apply": func(t *rapid.T) {
				plan := w.compute()
				checkOrder(t, w.Input, plan)
				w.carryOut(plan)
			},
			"observe": func(t *rapid.T) {
				if len(w.Pods) == 0 {
					t.Skip("no pods")
				}
				pod := &w.Pods[rapid.IntRange(0, len(w.Pods)-1).Draw(t, "pod")]
				switch what := rapid.SampledFrom([]string{"ready", "unready", "ended", "failed"}).Draw(t, "what"); {
				case isStopping(pod):
					w.Pods = slices.DeleteFunc(w.Pods, func(p Pod) bool { return isStopping(&p) })
				case isEnded(pod):
				case what == "ready":
					w.ready(pod)
				case what == "unready":
					w.unready(pod, "")
				case what == "failed" || pod.Owner.Kind != "Job":
					w.unready(pod, "Error")
					pod.Phase, pod.Finished = api.PodFailed, w.Now
				default:
					w.unready(pod, "")
					pod.Phase, pod.Finished = api.PodSucceeded, w.Now
				}
			},
			"forget": func(*rapid.T) { w.Routes, w.Rollouts, w.Templates, w.Deployed = nil, nil, nil, nil },
			"": func(t *rapid.T) {
				plan := w.compute()
				checkOrder(t, w.Input, plan)
				checkShuffled(t, w.Input, plan)
				checkNoDeadlock(t, w.Input)
			},
		})
	})
}

// drawOrdered declares workloads of which each may depend on any.
func drawOrdered(t *rapid.T) []api.Object {
	all := []string{"deployment/a", "Deployment/shop/b", "job/j", "service/s", "statefulset/c", "configmap/d"}
	var lines []string
	for _, line := range []string{
		"deployment a replicas=2", "deployment b replicas=1", "statefulset c replicas=1", "configmap d x=1", "job j backoff=100", "service s app=b",
	} {
		if rapid.IntRange(0, 6).Draw(t, "gone") == 0 {
			continue
		}
		if kind := strings.Fields(line)[0]; kind != "configmap" && kind != "service" {
			line += fmt.Sprintf(" image=i:%d", rapid.IntRange(1, 2).Draw(t, "image"))
		}
		if needs := rapid.SliceOfN(rapid.SampledFrom(all), 0, 2).Draw(t, "needs"); len(needs) > 0 {
			line += " after=" + strings.Join(needs, ",")
		}
		lines = append(lines, line)
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

// checkOrder finds no first pod of a template made while something that it depends on is not healthy, and none of what is
// depended on deleted before what depends on it.
func checkOrder(t *rapid.T, in Input, plan Plan) {
	o := newOrder(inForce(in.Desired, plan.Kept))
	states := map[api.Ref]*api.WorkloadStatus{}
	for i := range plan.Workloads {
		states[plan.Workloads[i].Ref] = &plan.Workloads[i]
	}
	known := map[string]bool{} // templates that have begun
	for i := range in.Pods {
		known[in.Pods[i].Owner.String()+string(in.Pods[i].Template)] = true
	}
	for _, s := range in.Rollouts {
		known[s.Ref.String()+string(s.Template)] = known[s.Ref.String()+string(s.Template)] || s.Waits == ""
	}
	for _, r := range in.Jobs {
		known[r.Job.String()+string(r.Template)] = known[r.Job.String()+string(r.Template)] || !r.Started.IsZero()
	}
	for _, a := range plan.Actions {
		switch {
		case a.Kind == CreatePod && o != nil && !known[a.Pod.Owner.String()+string(a.Pod.Template)]:
			for _, need := range o.needs[a.Pod.Owner] {
				if s := states[need]; s != nil && s.State != api.RolloutComplete || o.declared[need].Value == nil {
					t.Fatalf("%s is made before %s is healthy", a.Pod.Pod, need)
				}
			}
		case a.Class == ClassPruned:
			for i := range in.Pods {
				pod := &in.Pods[i]
				if slices.Contains(pod.DependsOn, a.Pod.Owner) && states[pod.Owner] == nil && !cyclic(in.Pods, pod.Owner, a.Pod.Owner) {
					t.Fatalf("%s is deleted before %s, which depends on it", a.Pod.Pod, pod.Pod)
				}
			}
		}
	}
}

// cyclic reports whether pods of the second owner lead to the first.
func cyclic(pods []Pod, owner, need api.Ref) bool {
	needs := map[api.Ref][]api.Ref{}
	for i := range pods {
		needs[pods[i].Owner] = append(needs[pods[i].Owner], pods[i].DependsOn...)
	}
	return leadsTo(needs, need, owner)
}

// checkNoDeadlock rehearses to the end, where all that has no problem is complete.
func checkNoDeadlock(t *rapid.T, in Input) {
	r, err := Rehearse(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(Order(in.Desired)) > 0 {
		return
	}
	for _, s := range r.Last.Workloads {
		waitsForJob := slices.ContainsFunc(r.Last.Workloads, func(o api.WorkloadStatus) bool {
			return o.Ref.Kind == "Job" && o.State != api.RolloutComplete // for its back-off, which the rehearsal does not wait out
		})
		if s.State != api.RolloutComplete && s.Ref.Kind != "Job" && !waitsForJob {
			t.Fatalf("without a cycle %s waits for ever: %s", s.Ref, s.Reason)
		}
	}
}
