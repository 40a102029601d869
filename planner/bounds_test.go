package planner

import (
	"fmt"
	"slices"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestBoundsOfRandomHistories lets usage, commits and approvals come in any order: autoscalers keep within the bounds that Git
// declares, no pod is made beyond a quota, nothing that is protected or holds data goes without an approval, and data goes
// neither while it is used nor unless its author said so.
func TestBoundsOfRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		commits := 0
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				commits++
				w.commit(fmt.Sprintf("c%d", commits), drawBounded(t))
				if rapid.IntRange(0, 2).Draw(t, "approves") == 0 {
					w.Revision.Message = ApproveTrailer + ": " + rapid.SampledFrom([]string{
						"StatefulSet/shop/db", "PersistentVolumeClaim/shop/disk", "PersistentVolumeClaim/shop/data-db-0", "*",
					}).Draw(t, "approved")
				}
			},
			"apply": func(t *rapid.T) {
				plan := w.compute()
				checkPromises(t, w.Input, plan)
				w.carryOut(plan)
				for i := range w.Pods {
					if pod := &w.Pods[i]; isLive(pod) {
						w.ready(pod)
					}
				}
			},
			"use": func(t *rapid.T) {
				share := rapid.Int64Range(0, 300).Draw(t, "share")
				w.Usage = nil
				for i := range w.Pods {
					w.Usage = append(w.Usage, Usage{UID: w.Pods[i].UID, Time: w.Now, Used: api.Resources{Memory: w.Pods[i].Requests.Memory * share / 100}})
				}
			},
			"gone": func(*rapid.T) { w.Pods = slices.DeleteFunc(w.Pods, func(pod Pod) bool { return isStopping(&pod) }) },
			"hold": func(*rapid.T) { w.holdClaims() },
			"node": func(t *rapid.T) {
				n := w.node(fmt.Sprintf("n%d", rapid.IntRange(1, 3).Draw(t, "node")))
				if err := w.observeNode(n, []string{rapid.SampledFrom([]string{"fenced", "back", "drained", "taken"}).Draw(t, "what")}); err != nil {
					t.Fatal(err)
				}
			},
			"time": func(t *rapid.T) {
				w.Now = w.Now.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, "seconds")) * time.Second)
			},
			"forget": func(*rapid.T) { w.Routes, w.Rollouts, w.Templates, w.Deployed, w.Scales = nil, nil, nil, nil, nil },
			"": func(t *rapid.T) {
				plan := w.compute()
				checkPromises(t, w.Input, plan)
				in := w.Input
				in.Claims = rapid.Permutation(in.Claims).Draw(t, "claims")
				in.Usage = rapid.Permutation(in.Usage).Draw(t, "usage")
				in.Scales = rapid.Permutation(in.Scales).Draw(t, "scales")
				checkShuffled(t, in, plan)
			},
		})
	})
}

// drawBounded declares what has bounds, or leaves some of it out.
func drawBounded(t *rapid.T) []api.Object {
	least := rapid.IntRange(1, 3).Draw(t, "min")
	lines := []string{
		"deployment web image=web:v1 memory=100Mi",
		fmt.Sprintf("autoscaler web min=%d max=%d memoryShare=50", least, least+rapid.IntRange(0, 4).Draw(t, "more")),
		fmt.Sprintf("quota all pods=%d", rapid.IntRange(3, 12).Draw(t, "pods")),
		fmt.Sprintf("statefulset db image=db:v1 replicas=%d claim=data", rapid.IntRange(0, 2).Draw(t, "replicas")),
		"claim disk",
	}
	for _, word := range []string{"whenScaled", "whenDeleted", "protect"} {
		if rapid.Bool().Draw(t, word) {
			lines[3] += " " + word
		}
	}
	var objects []api.Object
	for _, line := range lines {
		if rapid.IntRange(0, 5).Draw(t, "gone") == 0 {
			continue
		}
		o, err := parseObject(line)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	return objects
}

func checkPromises(t *rapid.T, in Input, plan Plan) {
	want := newWanted(in.Desired)
	for _, s := range plan.Scales {
		a := autoscaler{spec: scalerSpec(want, s.Target)}
		if a.spec == nil {
			t.Fatalf("%s is scaled by nobody", s.Target)
		}
		if s.Replicas != a.bounded(s.Replicas) {
			t.Fatalf("%s is to have %d pods, out of its bounds", s.Target, s.Replicas)
		}
	}
	made, pruned := 0, map[string]bool{}
	for _, a := range plan.Actions {
		if a.Kind == CreatePod {
			made++
		}
		pruned[a.Pod.UID] = a.Class == ClassPruned
	}
	there := 0
	for i := range in.Pods {
		if pod := &in.Pods[i]; !isEnded(pod) && !pod.Lost {
			there++
		}
		if pod := &in.Pods[i]; pruned[pod.UID] && pod.Protected && !parseApprovals(in.Revision.Message).cover(pod.Owner, true) {
			t.Fatalf("%s is protected, and deleted without an approval", pod.Pod)
		}
	}
	for _, o := range want.quotas {
		hard := o.Value.(*corev1.ResourceQuota).Spec.Hard[corev1.ResourcePods]
		if made > 0 && int64(there+made) > hard.Value() {
			t.Fatalf("%d pods and %d more, where %s may be", there, made, hard.String())
		}
	}
	checkClaims(t, in, plan)
}

// checkClaims finds everything that nodes have either kept or released, and released only what may be.
func checkClaims(t *rapid.T, in Input, plan Plan) {
	approved := parseApprovals(in.Revision.Message)
	p := newPass(in, &memory{want: newWanted(inForce(in.Desired, plan.Kept))}, observe(in.Pods, 0))
	used := p.usedClaims()
	for _, held := range in.Claims {
		kept := slices.ContainsFunc(plan.Claims, func(c api.Claim) bool { return c.Ref == held.Ref })
		released := slices.ContainsFunc(plan.Released, func(c api.ReleasedClaim) bool { return c.Ref == held.Ref && c.Node == held.Node })
		if kept == released {
			t.Fatalf("%s on %s: kept is %v, released is %v", held.Ref, held.Node, kept, released)
		}
		may := held.WhenDeleted || held.WhenScaled || p.want.owners[held.Owner] || approved.cover(held.Ref, true)
		if released && (used[held.Ref] || !may) {
			t.Fatalf("%s is released, used %v: %+v", held.Ref, used[held.Ref], held)
		}
	}
}

func scalerSpec(want *wanted, target api.Ref) *autoscalingv2.HorizontalPodAutoscalerSpec {
	scaler, ok := want.scalers[target].Value.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return nil
	}
	return &scaler.Spec
}
