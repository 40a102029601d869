package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/fakehost"
)

// bubble runs a test with a world in a time of its own.
func bubble(t *testing.T, options fakehost.Options, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, options)
		defer func() { w.stop() }()
		test(w)
	})
}

// simple is a template of one container that runs until it is told to end.
func simple(image string) api.PodTemplate {
	return api.PodTemplate{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: image}}}}
}

// TestNoWaitOnTheWay asks that from assignment to ready no more time passes than the runtime itself takes, and that what
// can be done at the same time is.
func TestNoWaitOnTheWay(t *testing.T) {
	const attach, prepare, ensure, create, start = 3, 2, 4, 60, 10
	latency := map[string]time.Duration{
		"Attach": attach * time.Millisecond, "Prepare": prepare * time.Millisecond, "Ensure": ensure * time.Millisecond,
		"Create": create * time.Millisecond, "Start": start * time.Millisecond,
	}
	bubble(t, fakehost.Options{Latency: latency}, func(w *world) {
		w.template("web", simple("web"), nil)
		w.start()
		pass(time.Second)
		begin := time.Now()
		w.assign(1, 1, "c1", "a:web")
		pass(time.Second)
		since := w.bus.lastStatus().Pods[0].ReadySince.Sub(begin)
		if want := (max(attach, prepare, ensure) + create + start) * time.Millisecond; since != want {
			w.Errorf("it was ready after %v, want %v", since, want)
		}
	})
}

// TestMaxParallel bounds how many containers are made at once, and uses all of that.
func TestMaxParallel(t *testing.T) {
	latency := map[string]time.Duration{"Create": 60 * time.Millisecond, "Start": 10 * time.Millisecond, "Remove": 40 * time.Millisecond}
	bubble(t, fakehost.Options{Latency: latency}, func(w *world) {
		w.template("web", simple("web"), nil)
		w.start()
		pass(0)
		var pods []string
		for i := range 20 {
			pods = append(pods, fmt.Sprintf("p%02d:web", i))
		}
		begin := time.Now()
		w.assign(1, 1, "c1", pods...)
		pass(time.Second)
		if got := w.host.Most("Create"); got != 4 {
			w.Errorf("%d were made at once, want 4", got)
		}
		var first, last time.Duration
		for _, p := range w.bus.lastStatus().Pods {
			since := p.ReadySince.Sub(begin)
			last = max(last, since)
			if first == 0 || since < first {
				first = since
			}
		}
		// A container that is made is started before the next one is made.
		if first != 70*time.Millisecond || last != 5*70*time.Millisecond {
			w.Errorf("the first was ready after %v and the last after %v, want 70ms and 350ms", first, last)
		}
		w.assign(1, 2, "c2")
		pass(time.Minute)
		if got := w.host.Most("Remove"); got != 2 {
			w.Errorf("%d were removed at once, want 2", got)
		}
		if got := w.host.String(); got != "" {
			w.Errorf("left are:\n%s", got)
		}
	})
}

// TestStatusIsCoalesced asks that what changes while a status is put goes out with the next one, and no later.
func TestStatusIsCoalesced(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.bus.putTime = time.Second
		w.template("web", simple("web"), nil)
		w.start()
		pass(5 * time.Second)
		before := len(w.bus.statuses)
		var pods []string
		for i := range 50 {
			pods = append(pods, fmt.Sprintf("p%02d:web", i))
		}
		w.assign(1, 1, "c1", pods...)
		pass(10 * time.Second)
		if puts := len(w.bus.statuses) - before; puts > 3 {
			w.Errorf("50 pods took %d statuses", puts)
		}
		for _, p := range w.bus.lastStatus().Pods {
			if !p.Ready || p.Containers[0].PID == 0 {
				w.Errorf("%+v", p)
			}
		}
	})
}

// TestStatusAfterAnOutage asks that what changes once the bus is back is put at once, though the next try of what failed
// before is still far off: the leader that came back may wait for it.
func TestStatusAfterAnOutage(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.template("web", simple("web"), nil)
		w.start()
		w.assign(1, 1, "c1", "a:web")
		pass(time.Second)
		w.bus.change(func() { w.bus.away = true })
		w.host.Exit("u-a.web.0", 1) // there is something to put
		pass(time.Minute)
		w.bus.change(func() { w.bus.away = false })
		w.assign(2, 1, "c1", "a:web")
		pass(100 * time.Millisecond)
		if got := w.bus.lastStatus().Term; got != 2 {
			w.Errorf("the status is of term %d, want 2", got)
		}
	})
}

// TestHeartbeat asks for the lease to be renewed every second, with the term that is obeyed.
func TestHeartbeat(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.start()
		pass(3500 * time.Millisecond)
		w.assign(7, 1, "c1")
		pass(time.Second)
		var terms []api.Term
		ids := map[uint64]bool{}
		for _, beat := range w.bus.beats {
			ids[beat.ID] = true
			terms = append(terms, beat.Term)
		}
		// The second goes out at once, when the answers are watched.
		if !slices.Equal(terms, []api.Term{0, 0, 0, 0, 0, 7}) || len(ids) != len(terms) {
			w.Errorf("got %+v", w.bus.beats)
		}
		if len(w.bus.joined) != 1 || w.bus.joined[0].Name != "n1" {
			w.Errorf("joined: %+v", w.bus.joined)
		}
	})
}

// TestHostilePlacement asks that no name from elsewhere reaches the file system.
func TestHostilePlacement(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.template("web", simple("web"), nil)
		good, escaping, template := w.placement("good", "web", "c1"), w.placement("bad", "web", "c1"), w.placement("worse", "web", "c1")
		escaping.UID = "../../escaped"
		template.Template = "../assignment.json"
		w.start()
		w.bus.change(func() {
			w.bus.assignment = &api.Assignment{Node: "n1", Term: 1, Sequence: 1, Pods: []api.Placement{escaping, good, template}}
		})
		pass(time.Second)
		if got := w.host.String(); got != "container u-good.web.0 running\nsandbox u-good\n" {
			w.Errorf("the machine holds:\n%s", got)
		}
		w.bus.change(func() { w.bus.assignment = &api.Assignment{Node: "n2", Term: 2, Sequence: 1} })
		pass(time.Minute)
		if !strings.Contains(w.host.String(), "u-good") {
			w.Error("another node's assignment was obeyed")
		}
	})
}

// TestStopDuringPull asks that a pod that is to end does not wait for its image.
func TestStopDuringPull(t *testing.T) {
	bubble(t, fakehost.Options{Latency: map[string]time.Duration{"Ensure": time.Hour}}, func(w *world) {
		w.template("web", simple("huge"), nil)
		w.start()
		w.assign(1, 1, "c1", "a:web")
		pass(time.Second)
		w.assign(1, 2, "c2")
		pass(time.Second)
		if got := w.host.String(); got != "" || len(w.bus.lastStatus().Pods) != 0 {
			w.Errorf("left are:\n%s%s", got, w.statusText(false))
		}
	})
}

// TestAssignedAgain asks that a pod that is assigned again while it stops goes all the way, and then begins anew.
func TestAssignedAgain(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.story()
		w.start()
		w.assign(1, 1, "c1", "a:web")
		pass(time.Second)
		pid := w.bus.lastStatus().Pods[0].Containers[1].PID
		w.assign(1, 2, "c2")
		pass(time.Second)
		w.assign(1, 3, "c1", "a:web")
		pass(time.Second)
		if p := w.bus.lastStatus().Pods[0]; p.Phase != api.PodStopping {
			w.Errorf("it went back from Stopping to %s", p.Phase)
		}
		pass(time.Minute)
		w.converged("a:web")
		if again := w.bus.lastStatus().Pods[0].Containers[1].PID; again == pid {
			w.Error("its process is still that of the first time")
		}
	})
}

// TestContainerSurroundings looks at what a container is made with.
func TestContainerSurroundings(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.template("web", api.PodTemplate{
			Labels: map[string]string{"app": "web"},
			Spec: corev1.PodSpec{
				Hostname: "till",
				Containers: []corev1.Container{{
					Name: "web", Image: "web",
					Command: []string{"/bin/sh", "-c", "echo $(WHO); cat /etc/hosts; cat /etc/resolv.conf; cat /etc/hostname; sleep 1000"},
					Env:     []corev1.EnvVar{{Name: "WHO", Value: "$(HOSTNAME) on $(NODE)"}, {Name: "NODE", Value: "never"}},
				}},
			},
		}, nil)
		w.start()
		w.assign(1, 1, "c1", "a:web")
		pass(time.Second)
		log, err := os.ReadFile(filepath.Join(w.dir, "pods", "u-a", "web.0.log"))
		if err != nil {
			w.Fatal(err)
		}
		const want = `till on $(NODE)
# Kept by headway.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
10.244.0.2	till
nameserver 10.244.0.1
search shop.svc.cluster.local svc.cluster.local cluster.local
options ndots:5 timeout:1
till
`
		if string(log) != want {
			w.Errorf("got:\n%swant:\n%s", log, want)
		}
	})
}

// TestBlobsGo asks that content which no pod uses leaves the disk, and that what is used is fetched once.
func TestBlobsGo(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.template("one", simple("one"), map[string]api.ConfigData{"settings": {Data: map[string]string{"a": "1"}}})
		w.template("two", simple("two"), nil)
		w.start()
		w.assign(1, 1, "c1", "a:one", "b:one")
		pass(time.Second)
		if got := strings.Count(w.files(), "blobs/"); got != 2 {
			w.Errorf("%d blobs are kept for one template with a config map", got)
		}
		w.assign(1, 2, "c2", "c:two")
		pass(time.Second)
		if files := w.files(); strings.Count(files, "blobs/") != 1 || !strings.Contains(files, "blobs/"+string(w.templates["two"])) {
			w.Errorf("on disk are:\n%s", files)
		}
	})
}

// TestBlobsGoWithoutPods asks the same of an agent that finds no pod: the one before it was killed when its last pod was
// erased and that pod's template was not.
func TestBlobsGoWithoutPods(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.start()
		pass(time.Second)
		w.stop()
		dir := filepath.Join(w.dir, "blobs")
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "left"), nil, 0o600)); err != nil {
			w.Fatal(err)
		}
		w.start()
		pass(time.Second)
		if files := w.files(); strings.Contains(files, "blobs/") {
			w.Errorf("on disk are:\n%s", files)
		}
	})
}

// TestCleanupSaysWhatIsLeft ends a clean-up that cannot be done.
func TestCleanupSaysWhatIsLeft(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		w.template("web", simple("web"), nil)
		w.start()
		w.assign(1, 1, "c1", "a:web")
		pass(time.Second)
		w.stop()
		w.host.SetFault(func(c fakehost.Call) error {
			if c.Op == "Detach" {
				return errors.New("the bridge is stuck")
			}
			return nil
		})
		err := w.cleanup()
		if err == nil || !strings.Contains(err.Error(), "pod u-a: the bridge is stuck") || !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("got %v", err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := node.New(node.Config{Dir: "relative", MaxParallel: -1}); err == nil ||
		!strings.Contains(err.Error(), "Info.Name is empty") || !strings.Contains(err.Error(), `"relative"`) || !strings.Contains(err.Error(), "MaxParallel") {
		t.Errorf("got %v", err)
	}
	w := newWorld(t, fakehost.Options{})
	c := w.config()
	c.Bus, c.Logs = nil, nil
	agent, err := node.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "Bus, Logs") {
		t.Errorf("got %v", err)
	}
}

// A fakeStream is a stream whose other side says what is in it, and hears all.
type fakeStream struct {
	say   []api.StreamFrame
	heard []api.StreamFrame
}

func (s *fakeStream) Send(_ context.Context, f api.StreamFrame) error {
	s.heard = append(s.heard, f)
	return nil
}

func (s *fakeStream) Recv(ctx context.Context) (api.StreamFrame, error) {
	if len(s.say) == 0 {
		<-ctx.Done()
		return api.StreamFrame{}, io.EOF
	}
	f := s.say[0]
	s.say = s.say[1:]
	return f, nil
}

// text is all that was heard, with how it ended.
func (s *fakeStream) text() string {
	var b strings.Builder
	for _, f := range s.heard {
		b.Write(f.Stdout)
		if len(f.Stderr) > 0 {
			fmt.Fprintf(&b, "stderr:%s", f.Stderr)
		}
		if f.ExitCode != nil {
			fmt.Fprintf(&b, "exit:%d", *f.ExitCode)
		}
		if f.Error != "" {
			fmt.Fprintf(&b, "error:%s", f.Error)
		}
	}
	return b.String()
}

func TestServe(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		loud := simple("web")
		loud.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "echo one; echo two; sleep 60; exit 1"}
		loud.Spec.Containers = append(loud.Spec.Containers, corev1.Container{Name: "side", Image: "gone"})
		w.template("web", loud, nil)
		w.host.SetImage("gone", "ErrImageNeverPull")
		w.start()
		w.assign(1, 1, "c1", "a:web")
		pass(61 * time.Second)
		pod, other := api.PodRef("shop", "a"), api.PodRef("shop", "b")
		stdin := []api.StreamFrame{{Stdin: []byte("back ")}, {Stdin: []byte("again\n"), StdinEOF: true}}
		for _, c := range []struct {
			request api.StreamRequest
			say     []api.StreamFrame
			want    string
		}{
			{api.StreamRequest{Pod: pod, Logs: &api.LogOptions{}}, nil, "one\ntwo\n"},
			{api.StreamRequest{Pod: pod, Container: "web", Logs: &api.LogOptions{Tail: new(1)}}, nil, "two\n"},
			{api.StreamRequest{Pod: pod, Logs: &api.LogOptions{Previous: true}}, nil, "one\ntwo\n"},
			{api.StreamRequest{Pod: pod, Container: "side", Logs: &api.LogOptions{}}, nil, "error:container side has not started yet: ErrImageNeverPull: gone: not in the registry"},
			{api.StreamRequest{Pod: pod, Container: "none", Logs: &api.LogOptions{}}, nil, `error:Pod/shop/a has no container "none"; it has web, side`},
			{api.StreamRequest{Pod: other, Logs: &api.LogOptions{}}, nil, "error:Pod/shop/b is not on node n1; its pods are: shop/a"},
			{api.StreamRequest{Pod: pod}, nil, "error:the request asks for nothing that this node knows: its headway may be older than yours"},
			{api.StreamRequest{Pod: pod, Exec: &api.ExecOptions{Command: []string{"/bin/sh", "-c", "echo hi; echo oh >&2; exit 3"}}}, nil, "hi\nstderr:oh\nexit:3"},
			{api.StreamRequest{Pod: pod, Exec: &api.ExecOptions{Command: []string{"cat"}, Stdin: true}}, stdin, "back again\nexit:0"},
			{api.StreamRequest{Pod: pod, Exec: &api.ExecOptions{}}, nil, "error:the request names no command"},
			{api.StreamRequest{Pod: pod, Container: "side", Exec: &api.ExecOptions{Command: []string{"cat"}}}, nil, "error:container side does not run: it is waiting"},
		} {
			s := &fakeStream{say: c.say}
			w.agent.Serve(w.Context(), c.request, s)
			if got := s.text(); got != c.want {
				w.Errorf("%+v: got %q, want %q", c.request, got, c.want)
			}
		}
	})
}

// TestLogsAreBounded asks for the limit to hold while a container writes, and for the logs of old runs to go.
func TestLogsAreBounded(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		crash := simple("web")
		crash.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "sleep 1; exit 1"}
		w.template("crash", crash, nil)
		w.start()
		w.assign(1, 1, "c1", "a:crash")
		pass(3 * time.Minute)
		var logs []string
		for line := range strings.Lines(w.files()) {
			if name := strings.TrimSpace(line); strings.HasPrefix(name, "pods/u-a/web.") && strings.HasSuffix(name, ".log") {
				logs = append(logs, name)
			}
		}
		if len(logs) != 2 {
			w.Errorf("the logs of these runs are kept: %v", logs)
		}
	})
}

// TestLateListing delivers a look that still shows a container of a pod that is gone: the pod does not come back.
func TestLateListing(t *testing.T) {
	bubble(t, fakehost.Options{Latency: map[string]time.Duration{"Remove": 50 * time.Millisecond}}, func(w *world) {
		w.template("web", simple("web"), nil)
		w.start()
		w.assign(1, 1, "c1", "a:web", "b:web")
		pass(time.Second)
		w.assign(1, 2, "c2", "b:web")
		pass(10 * time.Millisecond) // a has ended, and is being removed
		var delayed atomic.Bool
		w.host.SetFault(func(c fakehost.Call) error {
			if c.After && c.Op == "Containers" && delayed.CompareAndSwap(false, true) {
				<-time.After(100 * time.Millisecond)
			}
			return nil
		})
		w.host.Lose("none") // has a look taken at all, which comes late
		pass(70 * time.Millisecond)
		puts := len(w.bus.statuses)
		if n := len(w.bus.lastStatus().Pods); n != 1 {
			w.Fatalf("%d pods are left, want 1", n)
		}
		pass(time.Minute)
		for _, s := range w.bus.statuses[puts:] {
			if len(s.Pods) != 1 {
				w.Errorf("a pod that is gone came back: %+v", s.Pods)
			}
		}
		if !delayed.Load() {
			w.Error("no look was late")
		}
	})
}
