package node_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/fakehost"
)

// A killer ends the agent at one of its calls to the machine, before or after the call's effect. The dead agent can do
// nothing more.
type killer struct {
	mu    sync.Mutex
	late  bool // only calls count that the machine may carry out late, and it does
	after int  // calls to let pass
	dead  bool
	at    fakehost.Call
	died  chan struct{}
	gone  chan struct{}
}

func (k *killer) arm(after int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.after, k.dead, k.died, k.gone = after, false, make(chan struct{}), make(chan struct{})
}

// bury lets the calls of the dead agent return, once nothing hears what they say.
func (k *killer) bury() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		close(k.gone)
	}
}

func (k *killer) fault(c fakehost.Call) error {
	k.mu.Lock()
	dies := false
	if !k.dead {
		if k.late && !isCarriedOut(c) {
			k.mu.Unlock()
			return nil
		}
		if k.after--; k.after >= 0 {
			k.mu.Unlock()
			return nil
		}
		dies, k.dead, k.at = true, true, c
		close(k.died)
	}
	gone := k.gone
	k.mu.Unlock()
	<-gone
	if dies && k.late {
		return fakehost.ErrLate
	}
	return fakehost.ErrKilled
}

// isCarriedOut says whether a call is to a daemon beside the agent, which may be at it when the agent is dead.
func isCarriedOut(c fakehost.Call) bool {
	return !c.After && slices.Contains([]string{"Create", "Start", "Signal"}, c.Op)
}

// story is a template of two containers and a volume, one with all that a pod can have before and beside them, one that
// crashes, and one that is done at once.
func (w *world) story() {
	always := corev1.ContainerRestartPolicyAlways
	w.template("full", api.PodTemplate{Spec: corev1.PodSpec{
		TerminationGracePeriodSeconds: new(int64(5)),
		InitContainers: []corev1.Container{
			{Name: "init", Image: "init", Command: []string{"/bin/sh", "-c", "sleep 0.1"}},
			{Name: "side", Image: "side", RestartPolicy: &always, StartupProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}}},
		},
		Containers: []corev1.Container{{
			Name: "web", Image: "web", Command: []string{"/bin/sh", "-c", "trap '' TERM; sleep 1000000"},
			Lifecycle: &corev1.Lifecycle{
				PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "0.1"}}},
				PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "1"}}},
			},
		}},
	}}, nil)
	w.template("web", api.PodTemplate{Spec: corev1.PodSpec{
		TerminationGracePeriodSeconds: new(int64(5)),
		Volumes:                       []corev1.Volume{{Name: "tmp"}},
		Containers: []corev1.Container{
			{Name: "web", Image: "web", ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}}},
			{Name: "side", Image: "side", Command: []string{"/bin/sh", "-c", "trap '' TERM; sleep 1000000"}},
		},
	}}, nil)
	w.template("crash", api.PodTemplate{Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "web", Image: "web", Command: []string{"/bin/sh", "-c", "sleep 3; exit 1"}}},
	}}, nil)
	w.template("once", api.PodTemplate{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "web", Image: "web", Command: []string{"/bin/sh", "-c", "sleep 1"}}},
	}}, nil)
}

// expected is what a machine holds that has come to rest with these pods.
func expected(pods ...string) string {
	var containers, sandboxes, volumes []string
	for _, pod := range pods {
		name, template, _ := strings.Cut(pod, ":")
		if template == "once" {
			continue // it has ended: nothing is left of it but its record
		}
		sandboxes = append(sandboxes, "sandbox u-"+name)
		containers = append(containers, "container u-"+name+".web.0 running", "container u-"+name+".side.0 running")
		if template == "web" {
			volumes = append(volumes, "volumes u-"+name+" tmp")
		}
	}
	for _, lines := range [][]string{containers, sandboxes, volumes} {
		slices.Sort(lines)
	}
	return strings.Join(append(slices.Concat(containers, sandboxes, volumes), ""), "\n")
}

// converged checks that machine, status and disk hold the pods, each once, and nothing else.
func (w *world) converged(pods ...string) {
	w.Helper()
	if got, want := w.host.String(), expected(pods...); got != want {
		w.Fatalf("the machine holds:\n%swant:\n%s", got, want)
	}
	uids, blobs := map[string]bool{}, map[string]bool{}
	status := w.bus.lastStatus()
	for _, p := range status.Pods {
		uids[p.Placement.UID] = true
		blobs["blobs/"+string(p.Placement.Template)+"\n"] = true
		if p.Phase != api.PodSucceeded && !p.Ready {
			w.Errorf("%s is %s and not ready: %s: %s", p.Placement.Pod, p.Phase, p.Reason, p.Message)
		}
	}
	if len(status.Pods) != len(pods) || len(uids) != len(pods) {
		w.Errorf("the status is\n%swant the pods %v", w.statusText(false), pods)
	}
	for line := range strings.Lines(w.files()) {
		rest, found := strings.CutPrefix(line, "pods/")
		if uid, _, _ := strings.Cut(rest, "/"); found && !uids[uid] {
			w.Errorf("left on disk: %s", line)
		}
		if strings.HasPrefix(line, "blobs/") && !blobs[line] {
			w.Errorf("content is left on disk that no pod uses: %s", line)
		}
	}
}

// rollout is the story that is cut off everywhere: pods come, one of them is replaced, one goes.
func (w *world) rollout() []string {
	w.assign(1, 1, "c1", "a:web", "b:once", "d:full")
	pass(time.Second / 2)
	w.assign(1, 2, "c2", "a:web", "c:web", "d:full", "e:once", "f:full")
	pass(20 * time.Second)
	w.assign(1, 3, "c3", "a:web", "c:web", "e:once", "f:full")
	pass(20 * time.Second)
	return []string{"a:web", "c:web", "e:once", "f:full"}
}

// asPromised checks that nothing ran twice that is to run once, and that what has an order began in it.
func (w *world) asPromised() {
	w.Helper()
	starts, hooks := map[string]int{}, map[string]int{}
	var order []string
	for _, c := range w.host.Calls() {
		switch c.Op {
		case "Start":
			starts[c.What]++
		case "Exec":
			hooks[c.What]++
		default:
			continue
		}
		if strings.HasPrefix(c.What, "u-f.") {
			order = append(order, c.What)
		}
	}
	for id, times := range starts {
		if times > 1 || strings.HasSuffix(id, ".1") {
			w.Errorf("%s was started %d times", id, times)
		}
	}
	// A hook is done once, and once more if the agent was killed while it ran.
	for _, hook := range []string{"u-d.web.0 sleep 0.1", "u-d.web.0 sleep 1", "u-f.web.0 sleep 0.1"} {
		if times := hooks[hook]; times < 1 || times > 2 {
			w.Errorf("%q was done %d times", hook, times)
		}
	}
	want := []string{"u-f.init.0", "u-f.side.0", "u-f.web.0", "u-f.web.0 sleep 0.1"}
	if got := slices.Compact(order); !slices.Equal(got, want) {
		w.Errorf("it began as %q, want %q", got, want)
	}
}

// TestCrashAtEveryCall kills the agent before and after each call that it makes to the machine. A new agent finds what
// the dead one left, and brings it to what is assigned: nothing twice, nothing forgotten.
func TestCrashAtEveryCall(t *testing.T) { crashAtEveryCall(t, false) }

// TestLateCalls kills it so, too; but its last call is carried out when the next agent has already looked.
func TestLateCalls(t *testing.T) { crashAtEveryCall(t, true) }

func crashAtEveryCall(t *testing.T, late bool) {
	options := fakehost.Options{}
	if late {
		// The next agent has looked twice, before and after that, when it comes to what it has found.
		options.Latency = map[string]time.Duration{"Containers": 30 * time.Millisecond, "ContainersOf": 30 * time.Millisecond, "Attach": 100 * time.Millisecond}
	}
	for after := 0; ; after++ {
		done := false
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, options)
				defer func() { w.stop() }()
				w.story()
				k := &killer{late: late}
				k.arm(after)
				w.host.SetFault(k.fault)
				w.stopped = k.bury
				w.start()
				go func() {
					select {
					case <-k.died:
						w.stop()
						k.arm(1 << 30)
						w.start()
					case <-time.After(5 * time.Minute):
						done = true
					}
				}()
				pods := w.rollout()
				pass(time.Minute)
				w.converged(pods...)
				pass(10 * time.Minute)
				w.converged(pods...)
				w.asPromised()
				if t.Failed() {
					t.Logf("killed %s", k.at)
				}
			})
		})
		if t.Failed() || done {
			t.Logf("%d calls were cut off", after)
			return
		}
	}
}

// TestAnyHistoryConverges plays random assignments with crashes, restarts and absences of the bus between them, and
// asks that in the end the machine holds just what was assigned last.
func TestAnyHistoryConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.SliceOfN(rapid.IntRange(0, 1<<20), 4, 24).Draw(rt, "history")
		var failure string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehost.Options{Latency: map[string]time.Duration{"Create": 40 * time.Millisecond, "Remove": 30 * time.Millisecond}})
			defer func() { w.stop() }()
			w.story()
			pods := w.play(seed)
			pass(3 * time.Minute)
			if got, want := w.host.String(), expected(pods...); got != want {
				failure = "the machine holds:\n" + got + "want:\n" + want
			}
		})
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// play does what the numbers say, and gives the pods that are assigned in the end.
func (w *world) play(history []int) []string {
	k := &killer{}
	k.arm(1 << 30)
	w.host.SetFault(k.fault)
	w.stopped = k.bury
	w.start()
	templates := map[string]string{"a": "web", "b": "full", "c": "once", "d": "once"}
	var pods []string
	for i, n := range history {
		switch n % 6 {
		case 0, 1, 2:
			pods = nil
			for j, name := range slices.Sorted(maps.Keys(templates)) {
				if n>>(4+j)&1 == 1 {
					pods = append(pods, name+":"+templates[name])
				}
			}
			w.assign(1, uint64(i+1), "c", pods...)
		case 3:
			k.arm(n >> 3 % 40)
			pass(time.Duration(n>>3%500) * time.Millisecond)
			w.stop()
			k.arm(1 << 30)
			w.start()
		case 4:
			w.bus.change(func() { w.bus.away = n>>3&1 == 1 })
		case 5:
			pass(time.Duration(n>>3%7000) * time.Millisecond)
		}
	}
	w.bus.change(func() { w.bus.away = false })
	return pods
}

// TestAdoptionChangesNothing restarts the agent over a machine at rest: it looks, and leaves all as it is.
func TestAdoptionChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehost.Options{})
		defer func() { w.stop() }()
		w.story()
		w.start()
		pods := w.rollout()
		before := len(w.host.Calls())
		was := w.bus.lastStatus()
		puts := len(w.bus.statuses)
		w.start()
		pass(time.Minute)
		for _, c := range w.host.Calls()[before:] {
			switch c.Op {
			case "Containers", "ContainersOf", "Sandboxes", "Pods", "Attach", "Prepare", "SetPeers", "Isolate":
			default:
				t.Errorf("a restart made the call %s", c)
			}
		}
		w.converged(pods...)
		// Not for a moment does it look as if a pod were not ready, or had been replaced.
		for _, status := range w.bus.statuses[puts:] {
			for i, p := range status.Pods {
				if p.Phase == api.PodSucceeded && len(p.Containers) == 1 && p.Containers[0].State == "terminated" {
					continue
				}
				if len(status.Pods) != len(was.Pods) || !p.Ready || p.IP != was.Pods[i].IP || !p.ReadySince.Equal(was.Pods[i].ReadySince) {
					t.Errorf("after a restart it said of %s: %s, ready %t, %s", p.Placement.Pod, p.Phase, p.Ready, p.IP)
				}
			}
		}
	})
}

// TestOneAgentADirectory keeps a second daemon away.
func TestOneAgentADirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehost.Options{})
		defer func() { w.stop() }()
		w.start()
		pass(0)
		second, err := node.New(w.config())
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another daemon") {
			t.Errorf("a second agent ran: %v", err)
		}
	})
}
