package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"headway.dev/headway/test/cluster"
)

// TestCrashes loses daemons, and the whole message store, and asserts that no container notices and that the next commit
// deploys.
func TestCrashes(t *testing.T) {
	s := open(t)
	offers := []string{"10% off", "11% off", "12% off", "13% off", "14% off"}
	for i, lost := range [][]string{{"server"}, {"n2"}, {"server", "n2"}} {
		t.Run("kill -9 "+strings.Join(lost, " and "), func(t *testing.T) {
			s := &stage{t, s.Cluster}
			before := s.pids()
			load := s.startLoad()
			s.kill(lost...)
			s.shop(20)
			s.restart(lost...)
			s.stopLoad(load)
			s.sameProcesses(before)
			s.edit("catalog.yaml", offers[i], offers[i+1])
			s.deploy("Change the offer")
		})
	}
	t.Run("message store lost", func(t *testing.T) {
		s := &stage{t, s.Cluster}
		before := s.pids()
		s.kill("server", "n1", "n2", "n3")
		for _, dir := range []string{"bus", "mirror"} {
			// The passwords stay with the nodes, as they would where secrets are kept; the store and the mirror go.
			s.removeAllBut(filepath.Join(s.Dir, "lab", "server", dir), "credentials")
		}
		s.restart("server", "n1", "n2", "n3")
		s.sameProcesses(before)
		s.edit("catalog.yaml", offers[3], offers[4])
		s.deploy("Change the offer after the loss")
		if sum := s.shop(30); sum.Offers[offers[4]] != 30 {
			t.Errorf("offers %v", sum.Offers)
		}
	})
}

// kill ends daemons without warning.
func (s *stage) kill(names ...string) {
	s.Helper()
	daemons, err := s.Daemons(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for _, name := range names {
		if err := syscall.Kill(daemons[name], syscall.SIGKILL); err != nil {
			s.Fatalf("kill %s: %v", name, err)
		}
	}
	s.eventually("end", func() string {
		daemons, err := s.Daemons(s.Context())
		for _, name := range names {
			if err != nil || daemons[name] != 0 {
				return name + " runs on"
			}
		}
		return ""
	})
}

// restart starts daemons and waits until the whole fleet is seen and complete again, by a report newer than the restart.
func (s *stage) restart(names ...string) {
	s.Helper()
	began := time.Now()
	for _, name := range names {
		if _, err := s.Lab(s.Context(), "start", name); err != nil {
			s.Fatal(err)
		}
	}
	s.eventually("come back", func() string {
		r, err := s.Report(s.Context())
		if err != nil {
			return err.Error()
		}
		for _, n := range r.Nodes {
			if n.State != "Ready" {
				return n.Name + " is " + n.State
			}
		}
		if len(r.Nodes) < 3 {
			return "nodes are missing"
		}
		if len(names) > 0 && names[0] == "server" && r.Time.Before(began) {
			return "the report is older than the restart"
		}
		return ""
	})
	s.run("wait", "--for=ready", "--timeout", patience)
	s.Logf("%v are back after %s", names, time.Since(began).Round(time.Millisecond))
}

func (s *stage) removeAllBut(dir, keep string) {
	s.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == keep {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *stage) startLoad() *cluster.Load {
	s.Helper()
	load, err := s.StartLoad(s.Context(), "n1", 100)
	if err != nil {
		s.Fatal(err)
	}
	return load
}

// stopLoad ends a client none of whose requests may have failed.
func (s *stage) stopLoad(load *cluster.Load) {
	s.Helper()
	sum, err := load.Stop()
	if err != nil {
		s.Fatal(err)
	}
	if sum.Failed > 0 || sum.Requests == 0 {
		s.Errorf("%d of %d requests failed: %v", sum.Failed, sum.Requests, sum.Errors)
	}
	s.Logf("%d requests, p99 %s", sum.Requests, sum.P99)
}
