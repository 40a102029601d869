// Package crash_test kills a node's daemon with kill -9 at each step of a pod's life, on a real machine: a containerd,
// namespaces, volumes and rules of its own. The next daemon has to come to just what is assigned: nothing twice, nothing
// left over.
package crash_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

var (
	runs  = flag.Int("runs", 3, "how many times to kill the daemon at random")
	all   = flag.Bool("all", false, "kill it before, amid and after each step")
	crowd = flag.Bool("crowd", false, "have several pods come and go at once")
	seed  = flag.Uint64("seed", 0, "what to draw from; 0 is the time")
)

// whole is a pod that has all that a machine gives.
const whole = `
terminationGracePeriodSeconds: 5
initContainers:
- {name: init, image: IMAGE, command: [sh, -c, "echo page > /work/page"], volumeMounts: [{name: work, mountPath: /work}]}
- name: side
  image: IMAGE
  restartPolicy: Always
  command: [sh, -c, "nc -ll -p 8080 -e true & trap 'exit 0' TERM; while :; do wait; done"]
  startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 60}
containers:
- name: main
  image: IMAGE
  command: [sh, -c, "trap 'exit 0' TERM; test -f /work/page && sleep 100000 & wait"]
  ports: [{containerPort: 8080, hostPort: 8080}]
  lifecycle:
    postStart: {exec: {command: [touch, /work/started]}}
    preStop: {exec: {command: [rm, /work/started]}}
  readinessProbe: {exec: {command: [test, -f, /work/started]}, periodSeconds: 1}
  volumeMounts:
  - {name: work, mountPath: /work}
  - {name: work, mountPath: /part, subPath: part}
  - {name: memory, mountPath: /memory}
volumes:
- {name: work, emptyDir: {}}
- {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}`

// once is a pod that is done at once, and plain is one that only runs.
const (
	once  = `{restartPolicy: Never, containers: [{name: main, image: IMAGE, command: ["true"]}]}`
	plain = `{terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}]}`
)

// A life is one round of pods on the machine: they come, and all go, in the end the image with them.
type life struct {
	*machine
	number int
	// rests are the machine's states where a round without a crash came to rest.
	rests []string
}

// pod makes a placement, of a pod that the machine has not had.
func (l *life) pod(role, spec string) api.Placement {
	l.Helper()
	var t api.PodTemplate
	data, err := yaml.YAMLToJSONStrict([]byte(strings.ReplaceAll(spec, "IMAGE", l.image)))
	if err == nil {
		err = json.Unmarshal(data, &t.Spec)
	}
	if err != nil {
		l.Fatal(err)
	}
	uid := fmt.Sprintf("%s-%04d", role, l.number)
	l.names[uid] = role
	p := api.Placement{Node: nodeName, PodIdentity: api.PodIdentity{
		Pod: api.PodRef("crash", role), UID: uid, Owner: api.Ref{Kind: "Deployment", Namespace: "crash", Name: role}, Template: l.put(t),
	}}
	for _, port := range t.Spec.Containers[0].Ports {
		p.HostPorts = append(p.HostPorts, corev1.ContainerPort{HostPort: port.HostPort, ContainerPort: port.ContainerPort, Protocol: corev1.ProtocolTCP})
	}
	return p
}

// stages are the assignments of a round.
func (l *life) stages() [][]api.Placement {
	l.number++
	clear(l.names)
	whole, once, plain := l.pod("whole", whole), l.pod("once", once), l.pod("plain", plain)
	if *crowd {
		return [][]api.Placement{{once, whole}, {once, plain}, nil}
	}
	return [][]api.Placement{{whole}, nil}
}

// round lives one round. At each stage the daemons are killed at the failpoints of the stage, one after the other. It
// reports how many were.
func (l *life) round(points map[int][]failpoint) (killed map[int]int) {
	l.Helper()
	killed = map[int]int{}
	for i, pods := range l.stages() {
		assignment, left := l.assignment(pods), slices.Concat(points[i], []failpoint{{}})
		l.tell(left[0], assignment)
		for !l.settled(pods, i) {
			killed[i]++
			if !l.daemon.killed() {
				l.Fatalf("stage %d: the daemon ended by itself:\n%s", i, l.daemon.log.String())
			}
			// One that is killed once more than asked for was so by what it was told a stage before.
			left = left[min(1, len(left)-1):]
			l.start()
			l.tell(left[0], assignment)
		}
	}
	l.forgetImage()
	return killed
}

// settled waits until the machine holds what a stage is to come to, or the daemon has died.
func (l *life) settled(pods []api.Placement, stage int) bool {
	l.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last := ""; ; <-tick.C {
		if l.daemon.dead() {
			return false
		}
		missing := l.missing(pods)
		if missing == "" {
			state := l.state()
			if stage == len(l.rests) && state == last {
				l.rests = append(l.rests, state)
			}
			if last = state; stage < len(l.rests) && state == l.rests[stage] {
				return true
			}
			missing = "the machine holds\n" + difference(l.rests, stage, state) + "\nshims:\n" + l.shims()
		}
		if time.Now().After(deadline) {
			status, _ := json.MarshalIndent(l.daemon.newest(), "", " ")
			state := l.state()
			l.daemon.dump()
			l.Fatalf("stage %d, not after %s: %s\nthe status is\n%s\nthe machine holds\n%s\nthe daemon wrote:\n%s",
				stage, patience, missing, status, state, l.daemon.log.String())
		}
	}
}

// difference shows what a state lacks, and what it has too much.
func difference(rests []string, stage int, state string) string {
	if stage >= len(rests) {
		return state
	}
	want, got := strings.Split(rests[stage], "\n"), strings.Split(state, "\n")
	var lines []string
	for _, line := range want {
		if i := slices.Index(got, line); i >= 0 {
			got = slices.Delete(got, i, i+1)
		} else {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range got {
		lines = append(lines, "+ "+line)
	}
	return strings.Join(lines, "\n")
}

// missing says what of an assignment the daemon's status does not show yet.
func (l *life) missing(pods []api.Placement) string {
	status := l.daemon.newest()
	if status == nil || len(status.Pods) != len(pods) {
		return "the status is of other pods"
	}
	for i, p := range status.Pods {
		if p.Placement.UID != pods[i].UID {
			return "the status is of other pods"
		}
		if p.Phase != api.PodSucceeded && !p.Ready {
			return fmt.Sprintf("%s is %s: %s %s", p.Placement.UID, p.Phase, p.Reason, p.Message)
		}
	}
	return ""
}

// begin makes a machine, and has it live one round without a crash.
func begin(t *testing.T) (l *life, calls [][]string) {
	t.Helper()
	l = &life{machine: newMachine(t)}
	for i, pods := range l.stages() {
		l.tell(failpoint{}, l.assignment(pods))
		if !l.settled(pods, i) {
			t.Fatalf("the daemon ended by itself:\n%s", l.daemon.log.String())
		}
		calls = append(calls, append(l.proxy.made(), l.daemon.made()...))
	}
	l.forgetImage()
	return l, calls
}

// A step is one of a pod's life, and the call by which the daemon makes it.
type step struct {
	name string
	call string
	nth  int // 0 is the first
}

// coming are the steps by which a pod comes, in the first assignment, and going those by which it goes, in the second.
var (
	coming = []step{
		{"lease of a pull", "Leases/Create", 0},
		{"layer of an image", "Content/Write", 2},
		{"snapshot of an image", "Snapshots/Prepare", 1},
		{"unpacking", "Diff/Apply", 0},
		{"committed layer", "Snapshots/Commit", 0},
		{"name of an image", "Images/Create", 0},
		{"end of a pull", "Leases/Delete", 0},
		{"volumes", "Volumes.Prepare", 0},
		{"namespaces and address", "Network.Attach", 0},
		{"port of the machine", "Router.OpenHostPorts", 0},
		{"snapshot of a container", "Snapshots/Prepare", 2},
		{"record of a container", "Containers/Create", 0},
		{"task of an init container", "Tasks/Create", 0},
		{"time of a start", "Containers/Update", 0},
		{"start of an init container", "Tasks/Start", 0},
		{"end of an init container", "Tasks/Delete", 0},
		{"snapshot of an init container", "Snapshots/Remove", 0},
		{"record of an init container", "Containers/Delete", 0},
		{"startup probe", "Prober.Probe", 0},
		{"part of a volume", "Volumes.SubPath", 0},
		{"task of a container", "Tasks/Create", 3},
		{"postStart hook", "Tasks/Exec", 0},
		{"end of a postStart hook", "Tasks/DeleteProcess", 0},
	}
	going = []step{
		{"preStop hook", "Tasks/Exec", 0},
		{"end of a preStop hook", "Tasks/DeleteProcess", 0},
		{"signal to stop", "Tasks/Kill", 0},
		{"removal of a task", "Tasks/Delete", 0},
		{"removal of a snapshot", "Snapshots/Remove", 0},
		{"removal of a record", "Containers/Delete", 0},
		{"removal of a second task", "Tasks/Delete", 2},
		{"removal of namespaces", "Network.Detach", 0},
		{"removal of volumes", "Volumes.Remove", 0},
		{"port of the machine closed", "Router.CloseHostPorts", 0},
	}
)

func (s step) failpoint(when string) failpoint {
	return failpoint{Call: s.call, When: when, Nth: max(s.nth, 1), Delay: time.Millisecond}
}

// machines is how many share the steps: a round waits more than it works.
const machines = 3

// TestCrashAtEveryStep kills the daemon just after each step, when the machine has what the daemon does not know of; with
// -all before and amid it too.
func TestCrashAtEveryStep(t *testing.T) {
	whens := []string{"after"}
	if *all {
		whens = []string{"before", "during", "after"}
	}
	for part := range machines {
		t.Run(fmt.Sprint(part+1), func(t *testing.T) {
			t.Parallel()
			l, _ := begin(t)
			for _, when := range whens {
				for i := part; i < len(coming); i += machines {
					l.crash(when, coming[i], going[i%len(going)])
				}
			}
		})
	}
}

// crash lives a round in which a daemon is killed at a step of the pods that come, and another at one of those that go.
func (l *life) crash(when string, comes, goes step) {
	l.Helper()
	began := time.Now()
	killed := l.round(map[int][]failpoint{0: {comes.failpoint(when)}, 1: {goes.failpoint(when)}})
	for stage, s := range []step{comes, goes} {
		if killed[stage] == 0 {
			l.Errorf("%s: the daemon makes no call %s", s.name, s.failpoint(when))
		}
	}
	l.Logf("killed %s %s, and %s %s: %s", when, comes.name, when, goes.name, time.Since(began).Round(time.Millisecond))
}

// TestCrashAtRandom kills daemons anywhere: at any of their calls, or at any time.
func TestCrashAtRandom(t *testing.T) {
	t.Parallel()
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	l, calls := begin(t)
	sum := 0
	for i := range *runs {
		// Each run can be had alone: -seed with its number, -runs 1.
		chance := rand.New(rand.NewPCG(from+uint64(i), 0))
		points := map[int][]failpoint{}
		for stage, made := range calls {
			for chance.IntN(3) > 0 {
				points[stage] = append(points[stage], draw(chance, made))
			}
		}
		t.Logf("-seed %d: killed at %v", from+uint64(i), points)
		for _, n := range l.round(points) {
			sum += n
		}
	}
	t.Logf("%d daemons were killed in %d runs", sum, *runs)
}

// draw draws a failpoint: at one of some calls, or a time.
func draw(chance *rand.Rand, calls []string) failpoint {
	delay := time.Duration(chance.IntN(3000)) * time.Microsecond
	if chance.IntN(4) == 0 {
		return failpoint{Delay: 250 * delay}
	}
	at := chance.IntN(len(calls))
	nth := 0
	for _, c := range calls[:at+1] {
		if c == calls[at] {
			nth++
		}
	}
	return failpoint{Call: calls[at], When: []string{"before", "during", "after"}[chance.IntN(3)], Delay: delay, Nth: nth}
}
