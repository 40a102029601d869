package planner

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// actionsOf are the pods that a plan stops, by UID, and those that it makes, of one owner.
func actionsOf(plan Plan, owner api.Ref) (stopped map[string]bool, made []Action) {
	stopped = map[string]bool{}
	for _, a := range plan.Actions {
		switch {
		case a.Pod.Owner != owner:
		case a.Kind == StopPod:
			stopped[a.Pod.UID] = true
		default:
			made = append(made, a)
		}
	}
	return stopped, made
}

// checkStatefulSet finds never two pods of one identity, none made out of order, and no more missing than may be.
func checkStatefulSet(t *rapid.T, in Input, plan Plan, o api.Object, set *appsv1.StatefulSet) {
	stopped, made := actionsOf(plan, o.Ref)
	first, replicas := 0, int(*set.Spec.Replicas)
	if set.Spec.Ordinals != nil {
		first = int(set.Spec.Ordinals.Start)
	}
	names, available := map[string]bool{}, map[int]bool{}
	for i := range in.Pods {
		pod := &in.Pods[i]
		if pod.Owner != o.Ref {
			continue
		}
		if !pod.Lost || !pod.Fenced {
			names[pod.Pod.Name] = true
		}
		ready := isLive(pod) && pod.Ready && !in.Now.Before(pod.ReadySince.Add(time.Duration(set.Spec.MinReadySeconds)*time.Second))
		available[pod.Slot] = available[pod.Slot] || ready
	}
	for _, a := range made {
		if names[a.Pod.Pod.Name] {
			t.Fatalf("%s would be there twice", a.Pod.Pod)
		}
		names[a.Pod.Pod.Name] = true
		if a.Pod.Slot < first || a.Pod.Slot >= first+replicas {
			t.Fatalf("%s is not wanted", a.Pod.Pod)
		}
		for below := first; set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement && below < a.Pod.Slot; below++ {
			if !available[below] {
				t.Fatalf("%s is made before %d is available", a.Pod.Pod, below)
			}
		}
	}
	missing, taken := 0, 0
	for ordinal := first; ordinal < first+replicas; ordinal++ {
		if !available[ordinal] {
			missing++
		}
	}
	for i := range in.Pods {
		pod := &in.Pods[i]
		if pod.Owner == o.Ref && stopped[pod.UID] && isLive(pod) && pod.Ready && available[pod.Slot] &&
			pod.Slot >= first && pod.Slot < first+replicas {
			taken++
		}
	}
	if most := int(set.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.IntVal); taken > 0 && missing+taken > most {
		t.Fatalf("%s would have %d missing and %d taken, where %d may be", o.Ref, missing, taken, most)
	}
}

// checkDaemonSet finds pods made only where they belong, at most two to a node, and no more nodes without than may be.
func checkDaemonSet(t *rapid.T, in Input, plan Plan, o api.Object, set *appsv1.DaemonSet) {
	stopped, made := actionsOf(plan, o.Ref)
	surge, unavailable := daemonLimits(set.Spec.UpdateStrategy.RollingUpdate, len(in.Nodes))
	there, serving := map[string]int{}, map[string]bool{}
	for i := range in.Pods {
		pod := &in.Pods[i]
		if pod.Owner == o.Ref {
			there[pod.Node]++
			serving[pod.Node] = serving[pod.Node] || isLive(pod) && pod.Ready
		}
	}
	for _, a := range made {
		if there[a.Pinned]++; there[a.Pinned] > 1 && surge == 0 || a.Pinned == "" {
			t.Fatalf("%s is made on node %q beside another", a.Pod.Pod, a.Pinned)
		}
	}
	without, taken := 0, 0
	for _, n := range in.Nodes {
		if !n.Lost && !serving[n.Name] {
			without++
		}
	}
	for i := range in.Pods {
		pod := &in.Pods[i]
		if pod.Owner != o.Ref || !stopped[pod.UID] || !isLive(pod) || !pod.Ready {
			continue
		}
		if pod.Lost {
			t.Fatalf("%s is stopped, though its node is lost", pod.Pod)
		}
		if !served(in, pod, stopped) {
			taken++
		}
	}
	if taken > 0 && without+taken > unavailable {
		t.Fatalf("%s would have %d nodes without and %d more, where %d may be", o.Ref, without, taken, unavailable)
	}
}

// served reports whether another ready pod of the owner stays on the pod's node.
func served(in Input, pod *Pod, stopped map[string]bool) bool {
	return slices.ContainsFunc(in.Pods, func(other Pod) bool {
		return other.Owner == pod.Owner && other.Node == pod.Node && other.UID != pod.UID &&
			isLive(&other) && other.Ready && !stopped[other.UID]
	})
}

// checkJob finds no more runs at once than may be, and none when enough succeeded.
func checkJob(t *rapid.T, in Input, plan Plan, o api.Object, job *batchv1.Job) {
	stopped, made := actionsOf(plan, o.Ref)
	live := 0
	for i := range in.Pods {
		if pod := &in.Pods[i]; pod.Owner == o.Ref && isLive(pod) && !stopped[pod.UID] {
			live++
		}
	}
	if len(made) > 0 && live+len(made) > int(*job.Spec.Parallelism) {
		t.Fatalf("%s has %d pods and makes %d, where %d may run", o.Ref, live, len(made), *job.Spec.Parallelism)
	}
	for _, r := range plan.Jobs {
		if r.Job == o.Ref && len(made) > 0 && r.Template == made[0].Pod.Template && r.Succeeded.Len() >= 3 {
			t.Fatalf("%s is done, and makes %v", o.Ref, made)
		}
	}
}
