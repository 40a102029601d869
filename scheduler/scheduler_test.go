package scheduler

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

const mi = 1 << 20

func newNode(name string, change ...func(*Node)) Node {
	n := Node{Name: name, Allocatable: api.Resources{MilliCPU: 2000, Memory: 1024 * mi}, MaxPods: 110}
	for _, c := range change {
		c(&n)
	}
	return n
}

func newPod(owner string, slot int, change ...func(*Pod)) Pod {
	name := fmt.Sprintf("%s-%d", owner, slot)
	p := Pod{
		Identity: api.PodIdentity{
			Pod: api.PodRef("shop", name), UID: "uid-" + name, Slot: slot,
			Owner: api.Ref{Kind: "Deployment", Namespace: "shop", Name: owner}, Template: api.Digest("template-" + owner),
		},
		Spec:     &corev1.PodSpec{},
		Requests: api.Resources{MilliCPU: 100, Memory: 64 * mi},
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func cordoned(n *Node) { n.Cordoned = true }
func lost(n *Node)     { n.Lost = true }

func tainted(key string, effect corev1.TaintEffect) func(*Node) {
	return func(n *Node) { n.Taints = append(n.Taints, corev1.Taint{Key: key, Effect: effect}) }
}

func labelled(key, value string) func(*Node) {
	return func(n *Node) { n.Labels = map[string]string{key: value} }
}

func hostPort(port int32, ip string) func(*Pod) {
	return func(p *Pod) {
		p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: port, HostPort: port, HostIP: ip}}}}
	}
}

// TestFilters asks of one node, or a few, whether a pod fits, and how a refusal reads.
func TestFilters(t *testing.T) {
	big := func(p *Pod) { p.Requests.Memory = 2048 * mi }
	busy := func(p *Pod) { p.Requests.MilliCPU = 2500 }
	free := func(p *Pod) { p.Requests = api.Resources{} }
	selecting := func(p *Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd", "arch": "arm64"} }
	tolerating := func(op corev1.TolerationOperator, key, value string, effect corev1.TaintEffect) func(*Pod) {
		return func(p *Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Key: key, Operator: op, Value: value, Effect: effect}}
		}
	}
	running := func(n string, r api.Resources) Running { return Running{Node: n, Requests: r} }
	holding := func(n, ip string, port int32) Running {
		return Running{Node: n, HostPorts: []corev1.ContainerPort{{HostPort: port, HostIP: ip}}}
	}
	for _, test := range []struct {
		name    string
		nodes   []Node
		running []Running
		pod     Pod
		node    string // where it goes
		refusal string // or why not
	}{
		{name: "an empty node", nodes: []Node{newNode("a")}, pod: newPod("web", 0), node: "a"},
		{name: "no node", pod: newPod("web", 0), refusal: "0 of 0 nodes fit: no node has joined"},
		{
			name:  "named",
			nodes: []Node{newNode("a"), newNode("b")}, pod: newPod("web", 0, func(p *Pod) { p.Spec.NodeName = "b" }), node: "b",
		},
		{
			name:    "named and not there",
			nodes:   []Node{newNode("a"), newNode("b", lost)},
			pod:     newPod("web", 0, func(p *Pod) { p.Spec.NodeName = "c" }),
			refusal: "0 of 2 nodes fit: 2 are not c, the one asked for",
		},
		{
			name:    "lost and cordoned",
			nodes:   []Node{newNode("a", lost), newNode("b", cordoned), newNode("c", cordoned), newNode("d", lost, cordoned)},
			pod:     newPod("web", 0),
			refusal: "0 of 4 nodes fit: 2 are lost, 2 are cordoned",
		},
		{
			name:  "selector",
			nodes: []Node{newNode("a"), newNode("b", func(n *Node) { n.Labels = map[string]string{"disk": "ssd", "arch": "arm64"} })},
			pod:   newPod("web", 0, selecting), node: "b",
		},
		{
			name:    "selector not met",
			nodes:   []Node{newNode("a"), newNode("b", labelled("arch", "arm64")), newNode("c", labelled("arch", "amd64"))},
			pod:     newPod("web", 0, selecting),
			refusal: "0 of 3 nodes fit: 2 lack the label arch=arm64, 1 lacks the label disk=ssd",
		},
		{
			name:    "taints",
			nodes:   []Node{newNode("a", tainted("gpu", corev1.TaintEffectNoSchedule)), newNode("b", tainted("old", corev1.TaintEffectNoExecute))},
			pod:     newPod("web", 0),
			refusal: "0 of 2 nodes fit: 1 has the taint gpu:NoSchedule, which it does not tolerate, 1 has the taint old:NoExecute, which it does not tolerate",
		},
		{
			name:  "tolerated by key",
			nodes: []Node{newNode("a", tainted("gpu", corev1.TaintEffectNoSchedule))},
			pod:   newPod("web", 0, tolerating(corev1.TolerationOpExists, "gpu", "", "")), node: "a",
		},
		{
			name:  "all tolerated",
			nodes: []Node{newNode("a", tainted("gpu", corev1.TaintEffectNoSchedule), tainted("x", corev1.TaintEffectNoExecute))},
			pod:   newPod("web", 0, tolerating(corev1.TolerationOpExists, "", "", "")), node: "a",
		},
		{
			name:    "tolerated with another value",
			nodes:   []Node{newNode("a", tainted("gpu", corev1.TaintEffectNoSchedule))},
			pod:     newPod("web", 0, tolerating(corev1.TolerationOpEqual, "gpu", "yes", "")),
			refusal: "0 of 1 nodes fit: 1 has the taint gpu:NoSchedule, which it does not tolerate",
		},
		{
			name:    "tolerated with another effect",
			nodes:   []Node{newNode("a", tainted("gpu", corev1.TaintEffectNoSchedule))},
			pod:     newPod("web", 0, tolerating(corev1.TolerationOpExists, "gpu", "", corev1.TaintEffectNoExecute)),
			refusal: "0 of 1 nodes fit: 1 has the taint gpu:NoSchedule, which it does not tolerate",
		},
		{
			name:  "better not there",
			nodes: []Node{newNode("a", tainted("slow", corev1.TaintEffectPreferNoSchedule)), newNode("b")},
			running: []Running{
				running("b", api.Resources{MilliCPU: 1800}), {Node: "b", Owner: newPod("web", 0).Identity.Owner, Template: "template-web"},
			},
			pod: newPod("web", 0), node: "b",
		},
		{
			name:    "memory",
			nodes:   []Node{newNode("a"), newNode("b"), newNode("c", cordoned)},
			running: []Running{running("a", api.Resources{Memory: 1000 * mi}), running("b", api.Resources{Memory: 924 * mi})},
			pod:     newPod("web", 0, func(p *Pod) { p.Requests.Memory = 512 * mi }),
			refusal: "0 of 3 nodes fit: 2 lack memory (ask 512Mi, 100Mi free at best), 1 is cordoned",
		},
		{
			name:    "overcommitted",
			nodes:   []Node{newNode("a")},
			running: []Running{running("a", api.Resources{Memory: 4096 * mi})},
			pod:     newPod("web", 0, big),
			refusal: "0 of 1 nodes fit: 1 lacks memory (ask 2Gi, 0 free at best)",
		},
		{
			name:    "asks for nothing where there is nothing left",
			nodes:   []Node{newNode("a")},
			running: []Running{running("a", api.Resources{MilliCPU: 4000, Memory: 4096 * mi})},
			pod:     newPod("web", 0, free), node: "a",
		},
		{
			name:    "cpu",
			nodes:   []Node{newNode("a")},
			pod:     newPod("web", 0, busy),
			refusal: "0 of 1 nodes fit: 1 lacks cpu (ask 2500m, 2 free at best)",
		},
		{
			name:    "full",
			nodes:   []Node{newNode("a", func(n *Node) { n.MaxPods = 1 }), newNode("b", func(n *Node) { n.MaxPods = 1 })},
			running: []Running{{Node: "a", Stopping: true}, {Node: "b"}},
			pod:     newPod("web", 0),
			refusal: "0 of 2 nodes fit: 2 run as many pods as allowed (1 at most)",
		},
		{
			name:    "host port",
			nodes:   []Node{newNode("a")},
			running: []Running{holding("a", "", 80)},
			pod:     newPod("web", 0, hostPort(80, "10.0.0.1")),
			refusal: "0 of 1 nodes fit: 1 has the host port 80/TCP taken",
		},
		{
			name:    "host port of another address",
			nodes:   []Node{newNode("a")},
			running: []Running{holding("a", "10.0.0.2", 80)},
			pod:     newPod("web", 0, hostPort(80, "10.0.0.1")), node: "a",
		},
		{
			name:    "a port on the node's own network",
			nodes:   []Node{newNode("a")},
			running: []Running{holding("a", "", 80)},
			pod: newPod("web", 0, func(p *Pod) {
				hostPort(0, "")(p)
				p.Spec.HostNetwork = true
				p.Spec.Containers[0].Ports[0].ContainerPort = 80
			}),
			refusal: "0 of 1 nodes fit: 1 has the host port 80/TCP taken",
		},
		{
			name:    "running where no node is",
			nodes:   []Node{newNode("a")},
			running: []Running{holding("gone", "", 80)},
			pod:     newPod("web", 0, hostPort(80, "")), node: "a",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := Place(test.nodes, test.running, []Pod{test.pod})
			if len(d) != 1 {
				t.Fatalf("%d decisions", len(d))
			}
			if d[0].Node != test.node || test.node == "" && d[0].Reason != test.refusal {
				t.Errorf("placed on %q: %s\nwant %q %s", d[0].Node, d[0].Reason, test.node, test.refusal)
			}
		})
	}
}

// TestSpread places replicas apart, even while those of the template before are still there.
func TestSpread(t *testing.T) {
	nodes := []Node{newNode("a"), newNode("b"), newNode("c")}
	owner := newPod("web", 0).Identity.Owner
	running := []Running{
		{Node: "a", Owner: owner, Template: "old"},
		{Node: "b", Owner: owner, Template: "old"},
		{Node: "b", Owner: owner, Template: "old"},
		{Node: "c", Owner: owner, Template: "template-web", Stopping: true},
	}
	var pods []Pod
	for i := range 6 {
		pods = append(pods, newPod("web", i))
	}
	on := map[string]int{}
	for i, d := range Place(nodes, running, pods[:4]) {
		if i == 0 && d.Node != "c" {
			t.Errorf("the first goes to %s (%s), want c, which has no other", d.Node, d.Reason)
		}
		on[d.Node]++
	}
	if on["a"] == 0 || on["b"] == 0 || on["c"] == 0 {
		t.Errorf("4 replicas are not apart: %v", on)
	}
	on = map[string]int{}
	for _, d := range Place(nodes, nil, pods) {
		on[d.Node]++
	}
	if on["a"] != 2 || on["b"] != 2 || on["c"] != 2 {
		t.Errorf("6 replicas are not even: %v", on)
	}
}

// TestFit fills the emptier node first, and by the resource that is scarcer.
func TestFit(t *testing.T) {
	nodes := []Node{newNode("a"), newNode("b")}
	running := []Running{
		{Node: "a", Requests: api.Resources{MilliCPU: 1500, Memory: 10 * mi}},
		{Node: "b", Requests: api.Resources{MilliCPU: 800, Memory: 400 * mi}},
	}
	if d := Place(nodes, running, []Pod{newPod("web", 0)}); d[0].Node != "b" {
		t.Errorf("placed on %s: %s", d[0].Node, d[0].Reason)
	}
}

// TestTies does not send single pods to the same of many equal nodes.
func TestTies(t *testing.T) {
	var nodes []Node
	for i := range 20 {
		nodes = append(nodes, newNode(fmt.Sprintf("n%02d", i)))
	}
	seen := map[string]bool{}
	for i := range 40 {
		seen[Place(nodes, nil, []Pod{newPod(fmt.Sprintf("p%d", i), 0)})[0].Node] = true
	}
	if len(seen) < 12 {
		t.Errorf("40 pods went to only %d of 20 equal nodes", len(seen))
	}
}

// TestPriority gives the last room to the pod of the higher priority.
func TestPriority(t *testing.T) {
	high := int32(10)
	large := func(p *Pod) { p.Requests.Memory = 800 * mi }
	pods := []Pod{newPod("a", 0, large), newPod("b", 0, large, func(p *Pod) { p.Spec.Priority = &high })}
	d := Place([]Node{newNode("n")}, nil, pods)
	if d[0].Node != "" || d[1].Node != "n" {
		t.Errorf("decisions %+v: want b placed", d)
	}
}

// A scene is a random fleet with pods.
type scene struct {
	nodes   []Node
	running []Running
	pods    []Pod
}

func drawScene(t *rapid.T) scene {
	var s scene
	for i := range rapid.IntRange(0, 8).Draw(t, "nodes") {
		s.nodes = append(s.nodes, newNode(fmt.Sprintf("n%d", i), func(n *Node) {
			n.Cordoned = rapid.IntRange(0, 5).Draw(t, "cordoned") == 0
			n.Lost = rapid.IntRange(0, 5).Draw(t, "lost") == 0
			n.MaxPods = rapid.IntRange(1, 12).Draw(t, "max")
			if rapid.IntRange(0, 3).Draw(t, "tainted") == 0 {
				tainted("t", rapid.SampledFrom([]corev1.TaintEffect{"NoSchedule", "PreferNoSchedule"}).Draw(t, "effect"))(n)
			}
			if rapid.Bool().Draw(t, "labelled") {
				labelled("zone", "a")(n)
			}
		}))
	}
	owner := rapid.SampledFrom([]string{"web", "api", "db"})
	for i := range rapid.IntRange(0, 10).Draw(t, "running") {
		r := newPod(owner.Draw(t, "owner"), 1000+i)
		s.running = append(s.running, Running{
			Node: fmt.Sprintf("n%d", rapid.IntRange(0, 8).Draw(t, "on")), Owner: r.Identity.Owner, Template: r.Identity.Template,
			UID: r.Identity.UID, Requests: r.Requests, Stopping: rapid.Bool().Draw(t, "stopping"),
		})
	}
	specs := map[string]func(*Pod){}
	for _, name := range []string{"web", "api", "db"} {
		requests := api.Resources{
			MilliCPU: int64(rapid.IntRange(0, 12).Draw(t, "cpu") * 100), Memory: int64(rapid.IntRange(0, 6).Draw(t, "memory") * 100 * mi),
		}
		spec := &corev1.PodSpec{}
		if rapid.IntRange(0, 3).Draw(t, "selects") == 0 {
			spec.NodeSelector = map[string]string{"zone": "a"}
		}
		if rapid.IntRange(0, 3).Draw(t, "holds") == 0 {
			hostPort(80, "")(&Pod{Spec: spec})
		}
		specs[name] = func(p *Pod) { p.Requests, p.Spec = requests, spec }
	}
	for i := range rapid.IntRange(0, 20).Draw(t, "pods") {
		name := owner.Draw(t, "owner")
		s.pods = append(s.pods, newPod(name, i, specs[name]))
	}
	return s
}

// TestNeverOvercommits checks every decision against the rules, by itself.
func TestNeverOvercommits(t *testing.T) {
	count, aside := regexp.MustCompile(`(?:fit: |, )(\d+) `), regexp.MustCompile(`\(.*?\)`)
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		decisions := Place(s.nodes, s.running, s.pods)
		if len(decisions) != len(s.pods) {
			t.Fatalf("%d decisions on %d pods", len(decisions), len(s.pods))
		}
		free, pods, port, before := map[string]api.Resources{}, map[string]int{}, map[string]bool{}, map[string]api.Resources{}
		nodes := map[string]Node{}
		for _, n := range s.nodes {
			nodes[n.Name], free[n.Name] = n, n.Allocatable
		}
		for _, r := range s.running {
			free[r.Node] = free[r.Node].Sub(r.Requests)
			pods[r.Node]++
		}
		for name := range nodes {
			before[name] = free[name]
		}
		uids := map[string]Pod{}
		for _, p := range s.pods {
			uids[p.Identity.UID] = p
		}
		for _, d := range decisions {
			p := uids[d.Pod.UID]
			if d.Node == "" {
				sum := 0
				for _, m := range count.FindAllStringSubmatch(aside.ReplaceAllString(d.Reason, ""), -1) {
					n, _ := strconv.Atoi(m[1])
					sum += n
				}
				if sum != len(s.nodes) || !strings.HasPrefix(d.Reason, fmt.Sprintf("0 of %d nodes fit: ", len(s.nodes))) {
					t.Fatalf("the refusal does not account for %d nodes: %s", len(s.nodes), d.Reason)
				}
				continue
			}
			n := nodes[d.Node]
			free[n.Name] = free[n.Name].Sub(p.Requests)
			pods[n.Name]++
			holds := len(api.HostPorts(p.Spec)) > 0
			switch {
			case n.Lost || n.Cordoned:
				t.Fatalf("placed on a node that takes none: %+v", d)
			case pods[n.Name] > n.MaxPods:
				t.Fatalf("%s has %d pods, of %d", n.Name, pods[n.Name], n.MaxPods)
			case p.Requests.MilliCPU > 0 && free[n.Name].MilliCPU < 0, p.Requests.Memory > 0 && free[n.Name].Memory < min(0, before[n.Name].Memory):
				t.Fatalf("%s is overcommitted: %+v left", n.Name, free[n.Name])
			case len(p.Spec.NodeSelector) > 0 && n.Labels["zone"] != "a":
				t.Fatalf("the selector is not met: %+v", d)
			case len(n.Taints) > 0 && n.Taints[0].Effect == corev1.TaintEffectNoSchedule:
				t.Fatalf("the taint is not tolerated: %+v", d)
			case holds && port[n.Name]:
				t.Fatalf("two pods hold the port on %s", n.Name)
			}
			port[n.Name] = port[n.Name] || holds
		}
	})
}

// TestOrderOfInputMakesNoDifference shuffles everything.
func TestOrderOfInputMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		want := Place(s.nodes, s.running, s.pods)
		got := Place(rapid.Permutation(s.nodes).Draw(t, "nodes"), rapid.Permutation(s.running).Draw(t, "running"), rapid.Permutation(s.pods).Draw(t, "pods"))
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("shuffled:\n%+v\nwant\n%+v", got, want)
		}
	})
}

// TestRefusedMeansNoneFits asks again of the refused, one by one, after the others are in place.
func TestRefusedMeansNoneFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		uids := map[string]Pod{}
		for _, p := range s.pods {
			uids[p.Identity.UID] = p
		}
		var refused []Pod
		running := slices.Clone(s.running)
		for _, d := range Place(s.nodes, s.running, s.pods) {
			p := uids[d.Pod.UID]
			if d.Node == "" {
				refused = append(refused, p)
				continue
			}
			running = append(running, Running{Node: d.Node, Owner: p.Identity.Owner, Requests: p.Requests, HostPorts: api.HostPorts(p.Spec)})
		}
		for _, p := range refused {
			if d := Place(s.nodes, running, []Pod{p}); d[0].Node != "" {
				t.Fatalf("%s was refused, but fits on %s", p.Identity.Pod, d[0].Node)
			}
		}
	})
}

// BenchmarkPlace places pods on 5,000 nodes that run 50,000: replicas of some workloads, and as many workloads of one.
func BenchmarkPlace(b *testing.B) {
	var nodes []Node
	for i := range 5000 {
		nodes = append(nodes, newNode(fmt.Sprintf("node-%04d", i), labelled("zone", "abc"[i%3:i%3+1]), func(n *Node) {
			n.Allocatable = api.Resources{MilliCPU: 32_000, Memory: 65536 * mi}
		}))
	}
	random := rand.New(rand.NewPCG(1, 2))
	var running []Running
	for i := range 50_000 {
		p := newPod(fmt.Sprintf("app-%d", random.IntN(2000)), 1000+i)
		running = append(running, Running{
			Node: nodes[random.IntN(len(nodes))].Name, Owner: p.Identity.Owner, Template: p.Identity.Template, Requests: p.Requests,
		})
	}
	for _, workloads := range []int{1, 20, 1000} {
		b.Run(fmt.Sprintf("1000 pods of %d workloads", workloads), func(b *testing.B) {
			var pods []Pod
			for i := range 1000 {
				pods = append(pods, newPod(fmt.Sprintf("app-%d", i%workloads), i, func(p *Pod) {
					p.Spec.NodeSelector = map[string]string{"zone": "a"}
				}))
			}
			for b.Loop() {
				for _, d := range Place(nodes, running, pods) {
					if d.Node == "" {
						b.Fatal(d.Reason)
					}
				}
			}
			b.ReportMetric(float64(len(pods))*float64(b.N)/b.Elapsed().Seconds(), "pods/s")
		})
	}
}
