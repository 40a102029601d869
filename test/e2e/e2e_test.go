// Package e2e_test runs headway end to end on a lab: real Git, containerd, NATS, namespaces and iptables, by the command
// line alone.
package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/test/cluster"
)

// patience bounds each wait; nothing takes nearly as long.
const patience = "90s"

// nodeLease is long, so that a slow machine's restarted daemon is never taken for a lost node.
const nodeLease = "30s"

// headway is the binary under test, built once.
var headway string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "headway-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	headway = filepath.Join(dir, "headway")
	if err := cluster.BuildProgram(context.Background(), "headway.dev/headway/cmd/headway", headway); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testenv.Main(m)
}

// A stage is a cluster that runs the shop.
type stage struct {
	*testing.T
	*cluster.Cluster
}

// open makes a cluster of three nodes and deploys the shop.
func open(t *testing.T) *stage {
	t.Helper()
	s := start(t, cluster.Options{Nodes: 3, Manifests: os.DirFS(filepath.Join("..", "..", "examples", "shop", "manifests"))})
	s.deploy("Open the shop")
	return s
}

// start makes a cluster, until the test ends. The options need to say only what is special about it.
func start(t *testing.T, o cluster.Options) *stage {
	t.Helper()
	testenv.RequireRoot(t)
	if o.Containerd == "" {
		o.Containerd = testenv.Containerd(t)
	}
	o.Binary, o.AutoscalerPeriod, o.Log = headway, "2s", t.Output()
	o.NodeLease = cmp.Or(o.NodeLease, nodeLease)
	c, err := cluster.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t, c}
	t.Cleanup(func() {
		if t.Failed() {
			s.dumpLogs()
		}
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	return s
}

// dumpLogs shows the end of each daemon's log.
func (s *stage) dumpLogs() {
	const most = 6000
	logs, _ := filepath.Glob(filepath.Join(s.Dir, "lab", "log", "*.log"))
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		s.Logf("%s:\n%s", filepath.Base(path), data[max(0, len(data)-most):])
	}
}

// run runs a headway command that must succeed.
func (s *stage) run(args ...string) string {
	s.Helper()
	out, err := s.Headway(s.Context(), args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// commit commits and pushes all changes of the working copy.
func (s *stage) commit(message string) string {
	s.Helper()
	commit, err := s.Repo.Commit(s.Context(), message)
	if err != nil {
		s.Fatal(err)
	}
	return commit
}

// deploy commits, pushes and waits until all pods are ready.
func (s *stage) deploy(message string) string {
	s.Helper()
	commit := s.commit(message)
	start := time.Now()
	s.run("wait", "--for=commit="+commit, "--timeout", patience)
	s.Logf("%s: ready after %s", message, time.Since(start).Round(time.Millisecond))
	return commit
}

// edit replaces text in a manifest.
func (s *stage) edit(file, old, replacement string) {
	s.Helper()
	if err := s.Repo.Edit(file, old, replacement); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) write(file, content string) {
	s.Helper()
	if err := s.Repo.Write(file, content); err != nil {
		s.Fatal(err)
	}
}

// pids maps each container of each pod to its process, once there are exactly the pods that are wanted: those that a
// rollout replaced end a little after it is complete.
func (s *stage) pids() map[string]int {
	s.Helper()
	pids := map[string]int{}
	s.eventually("settle", func() string {
		pods, err := s.Pods(s.Context())
		if err != nil {
			return err.Error()
		}
		wanted := 0
		for _, w := range s.report().Workloads {
			wanted += w.Desired
		}
		if len(pods) != wanted {
			return fmt.Sprintf("%d pods are there, %d are wanted", len(pods), wanted)
		}
		clear(pids)
		for _, p := range pods {
			if p.Phase == api.PodSucceeded {
				continue // a run of a Job
			}
			if p.Phase != api.PodRunning || !p.Ready {
				return fmt.Sprintf("%s is %s", p.Placement.Pod, p.Phase)
			}
			for _, c := range p.Containers {
				pids[p.Placement.UID+"/"+c.Name] = c.PID
			}
		}
		return ""
	})
	return pids
}

// sameProcesses asserts that exactly these containers run, by the same processes.
func (s *stage) sameProcesses(want map[string]int) {
	s.Helper()
	for name, pid := range want {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			s.Errorf("container %s: process %d has ended", name, pid)
		}
	}
	if got := s.pids(); !maps.Equal(got, want) {
		s.Errorf("containers changed:\n got %v\nwant %v", got, want)
	}
}

// shop asserts that every one of some requests is answered.
func (s *stage) shop(requests int) cluster.Summary {
	s.Helper()
	sum, err := s.Shop(s.Context(), "n1", requests)
	if err != nil {
		s.Fatal(err)
	}
	if sum.Failed > 0 || sum.Requests != requests {
		s.Errorf("%d of %d requests failed: %v", sum.Failed, sum.Requests, sum.Errors)
	}
	return sum
}

// eventually waits until a condition holds; it returns what is missing, or nothing.
func (s *stage) eventually(what string, missing func() string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last := missing()
		if last == "" {
			return
		}
		select {
		case <-ctx.Done():
			s.Fatalf("%s: %s", what, last)
		case <-tick.C:
		}
	}
}

// report reads the controller's report.
func (s *stage) report() api.Report {
	s.Helper()
	r, err := s.Report(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// refused waits until the newest report refuses a commit with a problem that holds all of some words.
func (s *stage) refused(head string, words ...string) {
	s.Helper()
	s.eventually("refuse "+head, func() string {
		r := s.report()
		if head != "" && r.Head.Commit != head {
			return fmt.Sprintf("the head is %s", r.Head.Commit)
		}
		var all []string
		for _, p := range r.Refused {
			line := p.String()
			if !p.Warning && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return ""
			}
			all = append(all, line)
		}
		return fmt.Sprintf("no problem names %v: %q", words, all)
	})
}

// exitCode is how a command ended.
func exitCode(err error) int {
	var failed interface{ ExitCode() int }
	if err == nil {
		return 0
	}
	if errors.As(err, &failed) {
		return failed.ExitCode()
	}
	return -1
}
