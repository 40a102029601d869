package conformance

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/node"
)

// obedient runs until it is told to end, and then ends with 7.
const obedient = `trap 'exit 7' TERM; echo ready; sleep 100000 & wait`

// stubborn runs on when it is told to end.
const stubborn = `trap '' TERM; echo ready; sleep 100000`

// TestRuntime holds a runtime to what the agent relies on. Each part opens a host of its own.
func TestRuntime(t *testing.T, open func(t *testing.T) Host) {
	parts := []struct {
		name string
		test func(s *suite)
	}{
		{"Life", testLife},
		{"ExitCode", testExitCode},
		{"CreateTwice", testCreateTwice},
		{"Restart", testRestart},
		{"Signal", testSignal},
		{"Stop", testStop},
		{"Remove", testRemove},
		{"Process", testProcess},
		{"NoSuchCommand", testNoSuchCommand},
		{"Exec", testExec},
		{"Adopt", testAdopt},
		{"HalfMade", testHalfMade},
		{"Sandbox", testSandbox},
		{"MemoryLimit", testMemoryLimit},
		{"Logs", testLogs},
		{"Watch", testWatch},
		{"ContainersOf", testContainersOf},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.test(newSuite(t, open)) })
	}
}

func testLife(s *suite) {
	config := s.shell(s.Sandbox(s, s.uid), "web", obedient)
	id := s.create(config)
	c, found := s.find(id)
	if !found || c.State != node.ContainerCreated || c.PID != 0 || !c.Started.IsZero() {
		s.Fatalf("after Create: found %v, %+v", found, c)
	}
	before := time.Now().Add(-2 * time.Second)
	if err := s.Runtime.Start(s.context(), id); err != nil {
		s.Fatal(err)
	}
	c, _ = s.find(id)
	want := config.Pod
	if c.PodUID != want.UID || c.Pod != want.Pod || c.Name != "web" || c.Attempt != 0 || c.Template != want.Template {
		s.Errorf("the labels do not come back: %+v", c)
	}
	if c.State != node.ContainerRunning || c.PID == 0 || c.Started.Before(before) || !c.Finished.IsZero() {
		s.Errorf("after Start: %+v", c)
	}
	s.logged(config, "ready")
}

func testExitCode(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	for name, script := range map[string]string{"zero": "exit 0", "three": "exit 3"} {
		c := s.exited(s.run(s.shell(sandbox, name, script)))
		want := map[string]int{"zero": 0, "three": 3}[name]
		if c.ExitCode != want || c.OOM || c.PID != 0 || c.Started.IsZero() || c.Finished.Before(c.Started) {
			s.Errorf("%s: %+v", name, c)
		}
	}
}

func testCreateTwice(s *suite) {
	config := s.shell(s.Sandbox(s, s.uid), "web", obedient)
	id := s.create(config)
	if again := s.create(config); again != id {
		s.Errorf("created again, it has another ID: %s, then %s", id, again)
	}
	if err := s.Runtime.Start(s.context(), id); err != nil {
		s.Fatal(err)
	}
	s.logged(config, "ready")
	running, _ := s.find(id)
	if again := s.create(config); again != id {
		s.Errorf("created again while it runs, it has another ID: %s, then %s", id, again)
	}
	if c, _ := s.find(id); c.PID != running.PID || c.State != node.ContainerRunning {
		s.Errorf("created again while it runs, it changed from %+v to %+v", running, c)
	}
}

func testRestart(s *suite) {
	config := s.shell(s.Sandbox(s, s.uid), "web", "exit 1")
	first := s.run(config)
	s.exited(first)
	config.Attempt = 1
	config.Container.Command = []string{"/bin/sh", "-c", obedient}
	config.LogPath = filepath.Join(s.dir, "second.log")
	second := s.run(config)
	if second == first {
		s.Fatalf("both attempts have the ID %s", first)
	}
	s.logged(config, "ready")
	c, _ := s.find(second)
	if c.Attempt != 1 || c.State != node.ContainerRunning {
		s.Errorf("the second attempt: %+v", c)
	}
	if c, found := s.find(first); !found || c.Attempt != 0 || c.ExitCode != 1 {
		s.Errorf("the first attempt, not removed yet: found %v, %+v", found, c)
	}
	if err := s.Runtime.Remove(s.context(), first); err != nil {
		s.Fatal(err)
	}
	if c, _ := s.find(second); c.State != node.ContainerRunning {
		s.Errorf("removing the first attempt changed the second: %+v", c)
	}
}

func testRemove(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	created := s.create(s.shell(sandbox, "created", obedient))
	runs := s.shell(sandbox, "runs", stubborn)
	running := s.run(runs)
	s.logged(runs, "ready")
	ended := s.run(s.shell(sandbox, "ended", "exit 0"))
	s.exited(ended)
	for _, id := range []string{created, running, ended} {
		for range 2 {
			if err := s.Runtime.Remove(s.context(), id); err != nil {
				s.Errorf("remove: %v", err)
			}
		}
		if c, found := s.find(id); found {
			s.Errorf("still there: %+v", c)
		}
	}
	again := s.run(runs)
	if c, _ := s.find(again); c.State != node.ContainerRunning {
		s.Errorf("made anew after it was removed: %+v", c)
	}
}

// testProcess covers what a container's process sees: environment, mounts, user, working directory.
func testProcess(s *suite) {
	source := filepath.Join(s.dir, "greeting")
	if err := os.WriteFile(source, []byte("from a mount\n"), 0o644); err != nil {
		s.Fatal(err)
	}
	config := s.shell(s.Sandbox(s, s.uid), "web", "echo env=$GREETING; cat /etc/greeting; id -u; pwd")
	config.Env = []string{"GREETING=hello", "OTHER=x"}
	config.Mounts = []node.Mount{{Source: source, Target: "/etc/greeting", ReadOnly: true}}
	config.Container.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(1234))}
	config.Container.WorkingDir = "/tmp"
	if c := s.exited(s.run(config)); c.ExitCode != 0 {
		s.Errorf("ended with %d", c.ExitCode)
	}
	s.logged(config, "env=hello\nfrom a mount\n1234\n/tmp\n")
}

func testNoSuchCommand(s *suite) {
	config := s.config(s.Sandbox(s, s.uid), "web", "/no/such/command")
	id, err := s.Runtime.Create(s.context(), config)
	if err == nil {
		err = s.Runtime.Start(s.context(), id)
	}
	if err == nil || !strings.Contains(err.Error(), "/no/such/command") {
		s.Errorf("the error does not name the command: %v", err)
	}
	if _, own := errors.AsType[*node.StartError](err); !own {
		s.Errorf("the error does not say that the container itself is to blame: %v", err)
	}
	config.Attempt = 1
	config.Container.Command = []string{"/bin/sh", "-c", "exit 0"}
	s.exited(s.run(config))
}

func testExec(s *suite) {
	config := s.shell(s.Sandbox(s, s.uid), "web", obedient)
	config.Env = []string{"GREETING=hello"}
	id := s.run(config)
	s.logged(config, "ready")
	var stdout, stderr bytes.Buffer
	code, err := s.Runtime.Exec(s.context(), id, []string{"/bin/sh", "-c", "echo $GREETING; echo oh >&2; exit 3"}, node.Streams{Stdout: &stdout, Stderr: &stderr})
	if err != nil || code != 3 || stdout.String() != "hello\n" || stderr.String() != "oh\n" {
		s.Errorf("exit code %d, stdout %q, stderr %q, error %v", code, &stdout, &stderr, err)
	}
	stdout.Reset()
	code, err = s.Runtime.Exec(s.context(), id, []string{"cat"}, node.Streams{Stdin: strings.NewReader("through and back\n"), Stdout: &stdout})
	if err != nil || code != 0 || stdout.String() != "through and back\n" {
		s.Errorf("cat: exit code %d, stdout %q, error %v", code, &stdout, err)
	}
	ctx, cancel := context.WithTimeout(s.context(), 200*time.Millisecond)
	defer cancel()
	if code, err := s.Runtime.Exec(ctx, id, []string{"sleep", "100000"}, node.Streams{}); err == nil {
		s.Errorf("its time over, a command ended with %d and no error", code)
	}
	if code, err := s.Runtime.Exec(s.context(), id, []string{"/no/such/command"}, node.Streams{}); err == nil && code == 0 {
		s.Error("a command that does not exist succeeded")
	}
	if c, _ := s.find(id); c.State != node.ContainerRunning {
		s.Errorf("after commands ran in it: %+v", c)
	}
	if _, err := s.Runtime.Exec(s.context(), "no-such-container", []string{"cat"}, node.Streams{}); err == nil {
		s.Error("a command ran in a container that is not there")
	}
}

func testAdopt(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	config := s.shell(sandbox, "web", `trap 'echo ending; exit 7' TERM; echo ready; sleep 100000 & wait`)
	id := s.run(config)
	ended := s.run(s.shell(sandbox, "ended", "exit 4"))
	s.exited(ended)
	s.logged(config, "ready")
	before, _ := s.find(id)

	s.Runtime = s.Reopen(s)
	after, found := s.find(id)
	if !found || !reflect.DeepEqual(after, before) {
		s.Fatalf("found %v: before %+v, after %+v", found, before, after)
	}
	if c, _ := s.find(ended); c.ExitCode != 4 || c.State != node.ContainerExited {
		s.Errorf("the ended one: %+v", c)
	}
	if again := s.create(config); again != id {
		s.Errorf("created again, it has another ID: %s, then %s", id, again)
	}
	w := s.watch()
	s.ready(w, sandbox)
	if err := s.Runtime.Signal(s.context(), id, syscall.SIGTERM); err != nil {
		s.Fatal(err)
	}
	s.logged(config, "ending")
	if c := s.exited(id); c.ExitCode != 7 {
		s.Errorf("ended with %d, want 7", c.ExitCode)
	}
	s.until("Watch tells of an adopted container", func() bool { return w.saw(id) })
}

// testHalfMade ends Create in the middle, as a crash does, at many points.
func testHalfMade(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	for _, after := range []time.Duration{0, 1, 2, 4, 8, 16, 24, 32, 48} {
		config := s.shell(sandbox, "web", obedient)
		config.Attempt = int(after)
		config.LogPath = filepath.Join(s.dir, "after-"+after.String()+".log")
		ctx, cancel := context.WithTimeout(s.context(), after*time.Millisecond)
		_, err := s.Runtime.Create(ctx, config)
		cancel()
		if err == nil && after == 0 {
			s.Error("Create took no notice of its context")
		}
		id := s.run(config)
		s.logged(config, "ready")
		if c, _ := s.find(id); c.State != node.ContainerRunning {
			s.Errorf("cut after %v ms and made again: %+v", int(after), c)
		}
		if err := s.Runtime.Remove(s.context(), id); err != nil {
			s.Errorf("cut after %v ms: %v", int(after), err)
		}
	}
}

// testSandbox asks that containers of a pod share its namespaces, and those of two pods do not.
func testSandbox(s *suite) {
	one, two := s.Sandbox(s, s.uid), s.Sandbox(s, s.uid+"-2")
	const script = "hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts"
	see := func(sandbox node.Sandbox, name string) string {
		config := s.shell(sandbox, name, script)
		config.LogPath = filepath.Join(s.dir, sandbox.UID+name+".log")
		s.exited(s.run(config))
		s.logged(config, "uts:")
		out, err := os.ReadFile(config.LogPath)
		if err != nil {
			s.Fatal(err)
		}
		return string(out)
	}
	a, b, c := see(one, "a"), see(one, "b"), see(two, "c")
	if a != b {
		s.Errorf("two containers of a pod see\n%s\nand\n%s", a, b)
	}
	if !strings.HasPrefix(a, one.UID+"\n") {
		s.Errorf("the hostname is not the sandbox's %s:\n%s", one.UID, a)
	}
	theirs := strings.Split(c, "\n")
	for i, line := range strings.Split(a, "\n") {
		if line != "" && line == theirs[i] {
			s.Errorf("two pods share %s", line)
		}
	}
}

func testMemoryLimit(s *suite) {
	config := s.config(s.Sandbox(s, s.uid), "web", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	config.Container.Resources.Limits = corev1.ResourceList{
		corev1.ResourceMemory: resource.MustParse("24Mi"), corev1.ResourceCPU: resource.MustParse("500m"),
	}
	if c := s.exited(s.run(config)); !c.OOM || c.ExitCode != 137 {
		s.Errorf("past its memory limit: %+v", c)
	}
	config.Attempt = 1
	config.Container.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("128Mi")
	if c := s.exited(s.run(config)); c.OOM || c.ExitCode != 0 {
		s.Errorf("within its memory limit: %+v", c)
	}
}

func testLogs(s *suite) {
	config := s.shell(s.Sandbox(s, s.uid), "web", "echo out; echo err >&2")
	if err := os.WriteFile(config.LogPath, []byte("before\n"), 0o640); err != nil {
		s.Fatal(err)
	}
	s.exited(s.run(config))
	s.logged(config, "out\n")
	s.logged(config, "err\n")
	s.logged(config, "before\n") // appended, not truncated
	// One output may be closed long before the other.
	config = s.shell(s.Sandbox(s, s.uid), "half", "echo out; exec >&-; sleep 0.2; echo err >&2")
	s.exited(s.run(config))
	s.logged(config, "out\n")
	s.logged(config, "err\n")
}

func testWatch(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	w := s.watch()
	s.ready(w, sandbox)
	config := s.shell(sandbox, "web", obedient)
	id := s.run(config)
	s.logged(config, "ready")
	if w.saw(id) {
		s.Error("Watch told of a container that runs")
	}
	if err := s.Runtime.Signal(s.context(), id, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	s.until("Watch tells of the end", func() bool { return w.saw(id) })
	if c, _ := s.find(id); c.State != node.ContainerExited {
		s.Errorf("when Watch tells of the end: %+v", c)
	}
}

// ready waits until a watch that was just begun has told of a container's end: ends before it is set up may be missed.
func (s *suite) ready(w *watcher, sandbox node.Sandbox) {
	s.Helper()
	attempt := 0
	s.until("Watch is set up", func() bool {
		config := s.shell(sandbox, "watched", "exit 0")
		config.Attempt = attempt
		attempt++
		id := s.run(config)
		s.exited(id)
		if err := s.Runtime.Remove(s.context(), id); err != nil {
			s.Fatal(err)
		}
		return w.sawAny()
	})
}

// testContainersOf lists of each of two pods what is its own, as it is among all.
func testContainersOf(s *suite) {
	sandboxes := []node.Sandbox{s.Sandbox(s, s.uid), s.Sandbox(s, s.uid+"-other")}
	ids := map[string][]string{}
	for _, sandbox := range sandboxes {
		uid := sandbox.UID
		ids[uid] = append(ids[uid], s.create(s.shell(sandbox, uid+"-created", obedient)))
		ids[uid] = append(ids[uid], s.run(s.shell(sandbox, uid+"-running", obedient)))
		ended := s.run(s.shell(sandbox, uid+"-ended", "exit 3"))
		s.exited(ended)
		ids[uid] = append(ids[uid], ended)
	}
	for uid, want := range ids {
		got, err := s.Runtime.ContainersOf(s.context(), uid)
		if err != nil || len(got) != len(want) {
			s.Fatalf("of %s: %d containers, want %d: %v", uid, len(got), len(want), err)
		}
		for _, c := range got {
			if same, found := s.find(c.ID); !found || !reflect.DeepEqual(c, same) || !slices.Contains(want, c.ID) {
				s.Errorf("of %s: %+v, and among all %+v", uid, c, same)
			}
		}
	}
	if got, err := s.Runtime.ContainersOf(s.context(), s.uid+"-none"); err != nil || len(got) > 0 {
		s.Errorf("of a pod that is not there: %+v, %v", got, err)
	}
}
