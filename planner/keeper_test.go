package planner

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// A twin is a Keeper that is told of what happens to the pods of a world, and of nothing else.
type twin struct {
	keeper *Keeper
	told   map[string]Pod // by UID
	// last is what it planned last, and asComputed what Compute made of the same.
	last, asComputed Plan
}

func newTwin() *twin { return &twin{keeper: NewKeeper(), told: map[string]Pod{}} }

// compute plans what is to be done, anew and by the Keeper that has planned all that came before: both are to say the same.
func (w *world) compute() Plan {
	t := w.twin
	if !reflect.DeepEqual(t.last, t.asComputed) {
		panic("a plan has changed since the Keeper gave it:\n" + difference(t.last, t.asComputed))
	}
	there := map[string]bool{}
	for i := range w.Pods {
		pod := w.Pods[i]
		there[pod.UID] = true
		if told, known := t.told[pod.UID]; !known || !reflect.DeepEqual(told, pod) {
			t.keeper.Put(pod)
			t.told[pod.UID] = pod
		}
	}
	for uid := range t.told {
		if !there[uid] {
			t.keeper.Remove(uid)
			delete(t.told, uid)
		}
	}
	in := w.Input
	in.Pods = nil
	t.last, t.asComputed = t.keeper.Plan(in), Compute(w.Input)
	if !reflect.DeepEqual(t.last, t.asComputed) {
		panic("the Keeper plans something else than Compute:\n" + difference(t.last, t.asComputed))
	}
	return t.last
}

// difference tells of the fields of plans that differ.
func difference(kept, computed Plan) string {
	var b strings.Builder
	x, y := reflect.ValueOf(kept), reflect.ValueOf(computed)
	for i := range x.NumField() {
		name := x.Type().Field(i).Name
		if name == "settles" {
			fmt.Fprintf(&b, "%s: %s and %s\n", name, kept.settles, computed.settles)
		} else if a, c := x.Field(i).Interface(), y.Field(i).Interface(); !reflect.DeepEqual(a, c) {
			fmt.Fprintf(&b, "%s: kept\n%+v\ncomputed\n%+v\n", name, a, c)
		}
	}
	return b.String()
}

// TestKeeperPlansAsCompute lets everything that plans depend on happen in any order: after each step the Keeper, which keeps
// what did not change, plans what Compute does.
func TestKeeperPlansAsCompute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		commits := 0
		about := rapid.SampledFrom([]string{"everything", "rollouts", "services", "claims", "live", "jobs"}).Draw(t, "about")
		anyPod := func(t *rapid.T) *Pod {
			if len(w.Pods) == 0 {
				t.Skip("no pods")
			}
			return &w.Pods[rapid.IntRange(0, len(w.Pods)-1).Draw(t, "pod")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				commits++
				w.Prune = rapid.IntRange(0, 4).Draw(t, "prune") > 0
				w.commit(fmt.Sprintf("c%d", commits), drawAll(t, about))
			},
			"revise": func(t *rapid.T) { // a commit that changes no object
				commits++
				w.Revision = api.Revision{Commit: fmt.Sprintf("c%d", commits)}
				w.Prune = rapid.IntRange(0, 2).Draw(t, "prune") > 0
				if rapid.Bool().Draw(t, "approves") {
					w.Revision.Message = ApproveTrailer + ": *, StatefulSet/shop/db, PersistentVolumeClaim/shop/disk"
				}
			},
			"apply": func(*rapid.T) { w.carryOut(w.compute()) },
			"settle": func(*rapid.T) { // to a state in which nothing is done, from which one thing changes
				for range 4 {
					w.carryOut(w.compute())
					settle(w.Input)
					w.holdClaims()
					w.Pods = slices.DeleteFunc(w.Pods, func(pod Pod) bool { return isStopping(&pod) })
				}
			},
			"pod": func(t *rapid.T) { happensTo(t, w, anyPod(t)) },
			"gone": func(*rapid.T) {
				w.Pods = slices.DeleteFunc(w.Pods, func(pod Pod) bool { return isStopping(&pod) && !pod.Lost })
			},
			"vanished": func(t *rapid.T) {
				uid := anyPod(t).UID
				w.Pods = slices.DeleteFunc(w.Pods, func(pod Pod) bool { return pod.UID == uid })
			},
			"node": func(t *rapid.T) { happensToNode(t, w) },
			"use": func(t *rapid.T) {
				share := rapid.Int64Range(0, 300).Draw(t, "share")
				w.Usage = nil
				for i := range w.Pods {
					w.Usage = append(w.Usage, Usage{UID: w.Pods[i].UID, Time: w.Now, Used: api.Resources{Memory: w.Pods[i].Requests.Memory * share / 100}})
				}
			},
			"routes": func(t *rapid.T) { // another controller's
				if len(w.Routes) == 0 {
					t.Skip("no routes")
				}
				w.Routes = slices.Clone(w.Routes)
				r := &w.Routes[rapid.IntRange(0, len(w.Routes)-1).Draw(t, "route")]
				r.ClusterIP = fmt.Sprintf("10.96.0.%d", rapid.IntRange(7, 9).Draw(t, "ip"))
				r.Ports = slices.Clone(r.Ports)
				for i := range r.Ports {
					r.Ports[i].NodePort = int32(rapid.IntRange(0, 1).Draw(t, "port")) * 30001
				}
				r.Endpoints = slices.Clone(r.Endpoints)
				for i := range r.Endpoints {
					r.Endpoints[i].Hostname = rapid.SampledFrom([]string{"", "a"}).Draw(t, "hostname")
				}
			},
			"hold": func(*rapid.T) { w.holdClaims() },
			"forget": func(t *rapid.T) {
				switch rapid.SampledFrom([]string{"all", "templates", "routes", "rollouts", "deployed", "scales", "jobs"}).Draw(t, "what") {
				case "all":
					w.Routes, w.Rollouts, w.Templates, w.Deployed = nil, nil, nil, nil
				case "templates":
					w.Templates = nil
				case "routes":
					w.Routes = nil
				case "rollouts":
					w.Rollouts = nil
				case "deployed":
					w.Deployed = nil
				case "scales":
					w.Scales = nil
				case "jobs":
					w.Jobs = nil
				}
			},
			"unknown": func(t *rapid.T) {
				w.Unseen, w.Untold = "", ""
				if rapid.Bool().Draw(t, "unseen") {
					w.Unseen = "of 4 nodes, 3 have turned up"
				}
				if rapid.Bool().Draw(t, "untold") {
					w.Untold = "of 4 nodes, 3 have said what they have"
				}
			},
			"time": func(t *rapid.T) {
				w.Now = w.Now.Add(time.Duration(rapid.SampledFrom([]int{-1, 1, 5, 20, 60, 400}).Draw(t, "seconds")) * time.Second)
			},
			"": func(*rapid.T) { w.compute() },
		})
	})
}

// happensTo lets something happen to a pod.
func happensTo(t *rapid.T, w *world, pod *Pod) {
	switch rapid.SampledFrom([]string{"ready", "unready", "loops", "failed", "succeeded", "moved", "labelled", "fenced", "stopping"}).Draw(t, "what") {
	case "ready":
		if isLive(pod) {
			w.ready(pod)
		}
	case "unready":
		w.unready(pod, "Unhealthy")
	case "loops":
		w.unready(pod, "CrashLoopBackOff")
		pod.Containers = []api.ContainerStatus{{Name: "web", State: "waiting", Reason: "CrashLoopBackOff", ExitCode: 2, Restarts: 3}}
	case "failed":
		w.unready(pod, "Error")
		pod.Phase, pod.Finished = api.PodFailed, w.Now
	case "succeeded":
		w.unready(pod, "")
		pod.Phase, pod.Finished = api.PodSucceeded, w.Now
	case "moved": // what nothing of its owner's rollout depends on
		pod.IP = fmt.Sprintf("10.9.%d.%d", rapid.IntRange(0, 3).Draw(t, "ip"), rapid.IntRange(0, 200).Draw(t, "ip"))
	case "labelled":
		pod.Labels = map[string]string{"app": rapid.SampledFrom([]string{"web", "api", "db", "none"}).Draw(t, "app")}
	case "fenced":
		pod.Lost, pod.Fenced = true, rapid.Bool().Draw(t, "fenced")
	case "stopping":
		pod.Stopping = true
	}
}

// happensToNode lets something happen to a node.
func happensToNode(t *rapid.T, w *world) {
	n := w.node(fmt.Sprintf("n%d", rapid.IntRange(1, 3).Draw(t, "node")))
	switch what := rapid.SampledFrom([]string{"lost", "fenced", "back", "drained", "taken", "cordoned", "labelled", "tainted", "joined"}).Draw(t, "what"); what {
	case "cordoned":
		n.Cordoned = !n.Cordoned
	case "labelled":
		n.Labels = map[string]string{"zone": rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")}
	case "tainted":
		n.Taints = []corev1.Taint{{Key: "test", Effect: rapid.SampledFrom([]corev1.TaintEffect{corev1.TaintEffectNoExecute, corev1.TaintEffectNoSchedule, "None"}).Draw(t, "effect")}}
	case "joined":
		w.Nodes = append(w.Nodes, Node{Name: fmt.Sprintf("n%d", len(w.Nodes)+1)})
	default:
		if err := w.observeNode(n, []string{what}); err != nil {
			t.Fatal(err)
		}
	}
}

// drawAll declares objects of every kind that plans depend on, or leaves some of it out.
func drawAll(t *rapid.T, about string) []api.Object {
	number := func(most int) int { return rapid.IntRange(1, most).Draw(t, "number") }
	of := func(words ...string) string { return rapid.SampledFrom(words).Draw(t, "word") }
	lines := map[string][]string{
		"rollouts": {
			fmt.Sprintf("deployment web image=i:%d replicas=%d memory=100Mi", number(2), number(4)) + of("", " canary=10%_5m,50%", " canary=50%_20s surge=1 unavailable=0", " rollout=blue-green_20s", " paused", " minReady=20", " deadline=30 surge=1 unavailable=0"),
			fmt.Sprintf("replicaset set image=i:%d replicas=%d", number(2), number(3)),
			fmt.Sprintf("daemonset agent image=i:%d", number(2)) + of("", " zone=a", " surge=1 unavailable=0", " onDelete"),
			fmt.Sprintf("quota all pods=%d", 4+number(12)) + of("", " services=2"),
			fmt.Sprintf("autoscaler web min=1 max=%d memoryShare=50", 1+number(4)),
			"budget web unavailable=1 app=web", "service web app=web target=http",
		},
		"services": {
			"service web app=web target=http" + of("", " type=NodePort", " type=LoadBalancer", " external=192.0.2.1", " ip=10.96.0.9"),
			"service api " + of("app=api", "track=api", "app=api notReady", "app=api ip=10.96.0.9", "app=api ip=None"),
			"service db app=db" + of("", " ip=None"),
			"service outer alias=example.com type=ExternalName",
			"service written", "endpoints written ready=192.0.2.7 port=80",
			fmt.Sprintf("deployment web image=i:%d replicas=%d memory=100Mi", number(2), number(4)),
			fmt.Sprintf("deployment api image=i:%d replicas=%d", number(2), number(3)) + of("", " track=api", " subdomain=api hostname=h"),
			fmt.Sprintf("statefulset db image=i:%d replicas=%d", number(2), number(3)) + of("", " parallel"),
		},
		"claims": {
			fmt.Sprintf("statefulset db image=i:%d replicas=%d", number(2), number(3)) + of("", " claim=data", " claim=data whenScaled", " claim=data whenScaled parallel", " claim=data whenDeleted protect", " partition=1 unavailable=2", " onDelete"),
			fmt.Sprintf("deployment api image=i:%d replicas=%d", number(2), number(3)) + of("", " mounts=disk"),
			"claim disk" + of("", " class=c"), "volume v0 class=c", "budget db available=1 app=db", "service db app=db",
		},
		"live": {
			fmt.Sprintf("deployment web image=i:%d replicas=%d", number(2), number(4)) + of(" live files=settings", " optionalFiles=settings live", " live secretFiles=key"),
			fmt.Sprintf("deployment api image=i:%d replicas=%d", number(2), number(3)) + of(" live files=settings", " config=settings", " recreate"),
			fmt.Sprintf("configmap settings n=%d", number(2)), "secret key print=" + of("a", "b"),
		},
		"jobs": {
			fmt.Sprintf("job load image=i:%d parallelism=2 completions=2", number(2)) + of("", " suspended", " indexed", " ttl=30", " deadline=60"),
			"cronjob tick image=i:1 schedule=*_*_*_*_* keep=1",
			fmt.Sprintf("pod lone image=i:%d restart=%s", number(2), of("Always", "Never")),
		},
	}
	chosen := lines[about]
	if about == "everything" {
		for _, theme := range slices.Sorted(maps.Keys(lines)) {
			chosen = append(chosen, lines[theme]...)
		}
	}
	var objects []api.Object
	declared := map[api.Ref]bool{}
	for _, line := range chosen {
		if rapid.IntRange(0, 8).Draw(t, "gone") == 0 {
			continue
		}
		if kind, _, _ := strings.Cut(line, " "); slices.Contains([]string{"deployment", "statefulset", "daemonset", "job", "replicaset"}, kind) {
			line += of("", "", "", "", "", "", " after=deployment/api", " after=service/web", " together=shop")
		}
		o, err := parseObject(line)
		if err != nil {
			t.Fatal(err)
		}
		if !declared[o.Ref] {
			objects = append(objects, o)
		}
		declared[o.Ref] = true
	}
	return objects
}
