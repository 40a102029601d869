package conformance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// patience bounds every wait of the suite. It is long: it only matters for a runtime that fails.
const patience = 30 * time.Second

// A Host is a machine to run the suite on. The function that makes it also registers what undoes it.
type Host struct {
	Runtime node.Runtime
	// Reopen makes another value over the same machine, as a restarted daemon does. The old one is not used after it.
	Reopen func(t testing.TB) node.Runtime
	// Sandbox makes a sandbox whose hostname is the UID, and removes it when the test ends.
	Sandbox func(t testing.TB, uid string) node.Sandbox
	// Image is on the machine and holds busybox: sh, echo, sleep, cat, dd, id, pwd, hostname and readlink.
	Image string
	// StopsBy makes an image like Image that names a signal to stop its containers by, for TestRuntime.
	StopsBy func(t testing.TB, signal string) (image string)
	// Volumes make what TestFiles mounts; the other suites need none.
	Volumes node.Volumes
}

// A suite is one test's view of its host.
type suite struct {
	testing.TB
	Host
	dir string // the machine's path for logs and mounts
	uid string
}

func newSuite(t *testing.T, open func(t *testing.T) Host) *suite {
	t.Helper()
	s := &suite{TB: t, Host: open(t), dir: t.TempDir()}
	s.uid = uidFor(t.Name())
	t.Cleanup(func() { s.removeAll() })
	return s
}

// uidFor gives each test pods of its own, so that hosts may share a machine.
func uidFor(name string) string {
	name = strings.ToLower(name[strings.LastIndex(name, "/")+1:])
	return "conformance-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
}

// context ends with the suite's patience.
func (s *suite) context() context.Context {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.Cleanup(cancel)
	return ctx
}

// removeAll takes away what a test, however it ended, left in its pod.
func (s *suite) removeAll() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := s.Runtime.Containers(ctx)
	if err != nil {
		s.Errorf("clean up: %v", err)
	}
	for _, c := range all {
		if strings.HasPrefix(c.PodUID, s.uid) {
			if err := s.Runtime.Remove(ctx, c.ID); err != nil {
				s.Errorf("clean up: %v", err)
			}
		}
	}
}

// config describes a container of the test's pod that runs a command.
func (s *suite) config(sandbox node.Sandbox, name string, command ...string) node.ContainerConfig {
	container := corev1.Container{Name: name, Image: s.Image, Command: command, ImagePullPolicy: corev1.PullIfNotPresent}
	return node.ContainerConfig{
		Pod: api.PodIdentity{
			Pod: api.PodRef("conformance", "pod"), UID: sandbox.UID, Owner: api.Ref{Kind: "Deployment", Namespace: "conformance", Name: "d"},
			Slot: 1, Incarnation: 2, Template: "0123456789abcdef", Commit: "c0ffee",
		},
		Container: container,
		Spec:      &corev1.PodSpec{Containers: []corev1.Container{container}},
		Sandbox:   sandbox,
		LogPath:   filepath.Join(s.dir, name+".log"),
	}
}

// shell is config for a script.
func (s *suite) shell(sandbox node.Sandbox, name, script string) node.ContainerConfig {
	return s.config(sandbox, name, "/bin/sh", "-c", script)
}

func (s *suite) create(config node.ContainerConfig) string {
	s.Helper()
	id, err := s.Runtime.Create(s.context(), config)
	if err != nil {
		s.Fatalf("create %s: %v", config.Container.Name, err)
	}
	return id
}

func (s *suite) run(config node.ContainerConfig) string {
	s.Helper()
	id := s.create(config)
	if err := s.Runtime.Start(s.context(), id); err != nil {
		s.Fatalf("start %s: %v", config.Container.Name, err)
	}
	return id
}

// find gives the container, and whether it is there.
func (s *suite) find(id string) (node.Container, bool) {
	s.Helper()
	all, err := s.Runtime.Containers(s.context())
	if err != nil {
		s.Fatalf("containers: %v", err)
	}
	for _, c := range all {
		if c.ID == id {
			return c, true
		}
	}
	return node.Container{}, false
}

// until waits for a condition, and says what never came true.
func (s *suite) until(what string, condition func() bool) {
	s.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if condition() {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("not after %v: %s", patience, what)
		}
	}
}

func (s *suite) exited(id string) node.Container {
	s.Helper()
	var c node.Container
	s.until(id+" ends", func() bool {
		var found bool
		if c, found = s.find(id); !found {
			s.Fatalf("%s is gone, where it should have ended", id)
		}
		return c.State == node.ContainerExited
	})
	return c
}

func (s *suite) logged(config node.ContainerConfig, want string) {
	s.Helper()
	var got []byte
	s.until("the log of "+config.Container.Name+" holds "+want, func() bool {
		var err error
		if got, err = os.ReadFile(config.LogPath); err != nil && !os.IsNotExist(err) {
			s.Fatal(err)
		}
		return strings.Contains(string(got), want)
	})
}

// A watcher collects what Watch says.
type watcher struct {
	mu   sync.Mutex
	seen map[string]int
}

func (s *suite) watch() *watcher {
	s.Helper()
	w := &watcher{seen: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	runtime := s.Runtime
	go func() {
		done <- runtime.Watch(ctx, func(id string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen[id]++
		})
	}()
	s.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				s.Errorf("Watch: %v", err)
			}
		case <-time.After(patience):
			s.Error("Watch did not return when its context ended")
		}
	})
	return w
}

// saw reports whether the end of a container was told.
func (w *watcher) saw(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[id] > 0
}

// sawAny reports whether anything was told.
func (w *watcher) sawAny() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen) > 0
}
