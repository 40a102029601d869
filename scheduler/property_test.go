package scheduler

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// drawInput is a random fleet whose pods have rules about each other, by zone or by node, and priorities.
func drawInput(t *rapid.T) Input {
	var in Input
	for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
		in.Nodes = append(in.Nodes, newNode(fmt.Sprintf("n%d", i), func(n *Node) {
			n.Labels = map[string]string{corev1.LabelHostname: n.Name}
			if zone := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "zone"); zone != "" {
				n.Labels["zone"] = zone
			}
			n.Allocatable.MilliCPU = int64(rapid.IntRange(1, 5).Draw(t, "cpu")) * 100
		}))
	}
	apps := []string{"web", "api", "db"}
	specs := map[string]*corev1.PodSpec{}
	for _, app := range apps {
		term := func() corev1.PodAffinityTerm {
			return corev1.PodAffinityTerm{
				TopologyKey:   rapid.SampledFrom([]string{"zone", corev1.LabelHostname}).Draw(t, "topology"),
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": rapid.SampledFrom(apps).Draw(t, "selects")}},
			}
		}
		spec := &corev1.PodSpec{Affinity: &corev1.Affinity{}}
		spec.Priority = new(int32(rapid.IntRange(0, 2).Draw(t, "priority")))
		if rapid.IntRange(0, 2).Draw(t, "apart") == 0 {
			spec.Affinity.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term()}}
		}
		if rapid.IntRange(0, 3).Draw(t, "near") == 0 {
			spec.Affinity.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term()}}
		}
		if rapid.IntRange(0, 2).Draw(t, "spread") == 0 {
			spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
				MaxSkew: int32(rapid.IntRange(1, 2).Draw(t, "skew")), TopologyKey: "zone", WhenUnsatisfiable: corev1.DoNotSchedule,
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			}}
		}
		specs[app] = spec
	}
	made := 0
	next := func() Pod {
		app := rapid.SampledFrom(apps).Draw(t, "app")
		made++
		return newPod(app, made, func(p *Pod) {
			p.Spec, p.Labels, p.Requests = specs[app], map[string]string{"app": app}, api.Resources{MilliCPU: 100}
		})
	}
	for range rapid.IntRange(0, 8).Draw(t, "running") {
		r := next().on(rapid.SampledFrom(in.Nodes).Draw(t, "on").Name)
		r.Stopping, r.Unready = rapid.IntRange(0, 4).Draw(t, "stopping") == 0, rapid.Bool().Draw(t, "unready")
		r.Started = time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "started")), 0)
		in.Running = append(in.Running, r)
	}
	for range rapid.IntRange(1, 8).Draw(t, "pods") {
		in.Pods = append(in.Pods, next())
	}
	in.Budgets = []Budget{{
		Ref: api.Ref{Namespace: "shop", Name: "b"}, Left: rapid.IntRange(0, 2).Draw(t, "left"),
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": rapid.SampledFrom(apps).Draw(t, "budget")}},
	}}
	return in
}

// A resident is a pod where it runs in the end.
type resident struct {
	Pod
	node     Node
	stopping bool
	fresh    bool
}

func settled(in Input, decisions []Decision) []resident {
	var all []resident
	node := func(name string) Node {
		return in.Nodes[slices.IndexFunc(in.Nodes, func(n Node) bool { return n.Name == name })]
	}
	for _, r := range in.Running {
		p := Pod{Identity: api.PodIdentity{UID: r.UID}, Spec: r.Spec, Labels: r.Labels}
		all = append(all, resident{p, node(r.Node), r.Stopping, false})
	}
	for _, d := range decisions {
		if d.Node != "" {
			i := slices.IndexFunc(in.Pods, func(p Pod) bool { return p.Identity.UID == d.Pod.UID })
			all = append(all, resident{in.Pods[i], node(d.Node), false, true})
		}
	}
	return all
}

// meets reports whether the other pod is one that the term selects, and in the same domain.
func (r resident) meets(t corev1.PodAffinityTerm, other resident) bool {
	at, ok := r.node.Labels[t.TopologyKey]
	is, there := other.node.Labels[t.TopologyKey]
	return ok && there && at == is && other.Labels["app"] == t.LabelSelector.MatchLabels["app"]
}

// TestRulesAreKept holds what was placed against the rules of all pods, by itself.
func TestRulesAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		all := settled(in, Compute(in))
		for i, r := range all {
			if affinity := r.Spec.Affinity.PodAntiAffinity; affinity != nil {
				for j, other := range all {
					if i != j && (r.fresh || other.fresh) && r.meets(affinity.RequiredDuringSchedulingIgnoredDuringExecution[0], other) {
						t.Fatalf("%s keeps away from %s, and both are on %s and %s", r.Identity.UID, other.Identity.UID, r.node.Name, other.node.Name)
					}
				}
			}
			if affinity := r.Spec.Affinity.PodAffinity; affinity != nil && r.fresh {
				term := affinity.RequiredDuringSchedulingIgnoredDuringExecution[0]
				if !slices.ContainsFunc(all, func(other resident) bool { return !other.stopping && r.meets(term, other) }) {
					t.Fatalf("%s is alone on %s", r.Identity.UID, r.node.Name)
				}
			}
			if len(r.Spec.TopologySpreadConstraints) > 0 && r.fresh {
				checkSpread(t, in, all, r)
			}
		}
	})
}

// checkSpread compares the pods in the zone of one that was placed with those in the emptiest zone: later ones can only have
// filled that up.
func checkSpread(t *rapid.T, in Input, all []resident, r resident) {
	counts := map[string]int32{}
	for _, n := range in.Nodes {
		if zone, ok := n.Labels["zone"]; ok {
			counts[zone] += 0
		}
	}
	for _, other := range all {
		if zone, ok := other.node.Labels["zone"]; ok && !other.stopping && other.Labels["app"] == r.Labels["app"] {
			counts[zone]++
		}
	}
	zone, ok := r.node.Labels["zone"]
	least := counts[zone]
	for _, n := range counts {
		least = min(least, n)
	}
	if skew := r.Spec.TopologySpreadConstraints[0].MaxSkew; !ok || counts[zone]-least > skew {
		t.Fatalf("%s is in zone %q, which has too many: %v", r.Identity.UID, zone, counts)
	}
}

// TestOrderMakesNoDifferenceToRules shuffles everything.
func TestOrderMakesNoDifferenceToRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		want := Compute(in)
		in.Nodes = rapid.Permutation(in.Nodes).Draw(t, "nodes")
		in.Running = rapid.Permutation(in.Running).Draw(t, "running")
		in.Pods = rapid.Permutation(in.Pods).Draw(t, "pods")
		if got := Compute(in); !reflect.DeepEqual(want, got) {
			t.Fatalf("shuffled:\n%+v\nwant\n%+v", got, want)
		}
	})
}

// TestVictimsMakeRoom ends the victims of one refused pod, after which it must fit.
func TestVictimsMakeRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Pods = in.Pods[:1]
		d := Compute(in)[0]
		spent := 0
		for _, v := range d.Victims {
			i := slices.IndexFunc(in.Running, func(r Running) bool { return r.UID == v.UID })
			switch r := in.Running[i]; {
			case r.Stopping:
				t.Fatalf("%s is ending already", v.UID)
			case *r.Spec.Priority >= *in.Pods[0].Spec.Priority:
				t.Fatalf("%s is of no lower priority", v.UID)
			case !r.Unready && r.Labels["app"] == in.Budgets[0].Selector.MatchLabels["app"]:
				spent++
			}
			in.Running = slices.Delete(in.Running, i, i+1)
		}
		if spent > in.Budgets[0].Left {
			t.Fatalf("%d victims of a budget of %d", spent, in.Budgets[0].Left)
		}
		if len(d.Victims) == 0 {
			return
		}
		in.Running = slices.DeleteFunc(in.Running, func(r Running) bool { return r.Stopping })
		if d := Compute(in)[0]; d.Node == "" {
			t.Fatalf("it still does not fit: %s", d.Reason)
		}
	})
}

// BenchmarkRules places pods that keep apart by node and spread over zones, on 5,000 nodes that run 50,000 such.
func BenchmarkRules(b *testing.B) {
	in := Input{}
	for i := range 5000 {
		in.Nodes = append(in.Nodes, newNode(fmt.Sprintf("node-%04d", i), func(n *Node) {
			n.Labels = map[string]string{corev1.LabelHostname: n.Name, "zone": string("abc"[i%3])}
			n.Allocatable = api.Resources{MilliCPU: 32_000, Memory: 65536 * mi}
		}))
	}
	specs := make([]*corev1.PodSpec, 2000)
	marked := make([]map[string]string, len(specs))
	for i := range specs {
		app := fmt.Sprintf("app-%d", i)
		marked[i] = map[string]string{"app": app, "tier": "web"}
		selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
		specs[i] = &corev1.PodSpec{
			Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
				{TopologyKey: corev1.LabelHostname, LabelSelector: selector},
			}}},
			TopologySpreadConstraints: []corev1.TopologySpreadConstraint{
				{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: selector},
			},
		}
	}
	pod := func(app, slot int) Pod {
		return newPod(fmt.Sprintf("app-%d", app), slot, func(p *Pod) { p.Spec, p.Labels = specs[app], marked[app] })
	}
	for i := range 50_000 {
		in.Running = append(in.Running, pod(i%2000, 1000+i).on(in.Nodes[(i*7)%5000].Name))
	}
	for _, workloads := range []int{1, 20, 1000} {
		b.Run(fmt.Sprintf("1000 pods of %d workloads", workloads), func(b *testing.B) {
			in.Pods = nil
			for i := range 1000 {
				in.Pods = append(in.Pods, pod(i%workloads, i))
			}
			for b.Loop() {
				for _, d := range Compute(in) {
					if d.Node == "" {
						b.Fatal(d.Reason)
					}
				}
			}
			b.ReportMetric(float64(len(in.Pods))*float64(b.N)/b.Elapsed().Seconds(), "pods/s")
		})
	}
}

// TestTheHeapChoosesAsAScanWould places replicas that no rules bind in both ways.
func TestTheHeapChoosesAsAScanWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		p := newPod("app", rapid.IntRange(0, 100).Draw(t, "uid"))
		var chosen [2][]string
		for way := range chosen {
			f := newFleet(&Input{Nodes: s.nodes, Running: s.running})
			a := f.newAsk(&p)
			f.countPeers(a)
			c := f.fitting(a, p.Identity.UID)
			c.rules = way == 1
			for range 3 * len(s.nodes) {
				best, fit := c.choose(a)
				if fit != len(c.list) || best < 0 {
					break
				}
				n := c.list[best].node
				chosen[way] = append(chosen[way], n.Name)
				f.take(n, a)
				c.asked(a, best)
			}
		}
		if !slices.Equal(chosen[0], chosen[1]) {
			t.Fatalf("by heap %v, by scan %v", chosen[0], chosen[1])
		}
	})
}
