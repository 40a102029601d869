package controller

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// command runs one command of the scenarios' language.
func (w *scene) command(t *rapid.T, line string, input ...string) {
	d := &datadriven.TestData{Input: strings.Join(input, "\n")}
	fields := strings.Fields(line)
	d.Cmd = fields[0]
	for _, f := range fields[1:] {
		key, values, _ := strings.Cut(f, "=")
		a := datadriven.CmdArg{Key: key}
		if values != "" {
			a.Vals = []string{values}
		}
		d.CmdArgs = append(d.CmdArgs, a)
	}
	out, err := w.run(d)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if out = strings.TrimSpace(out); out != "" {
		out = "\n  " + strings.ReplaceAll(out, "\n", "\n  ")
	}
	t.Logf("%s %v%s", line, input, out)
	if len(w.bus.misdeeds) > 0 {
		t.Fatalf("after %q: %v", line, w.bus.misdeeds)
	}
}

// Commits of every sort. good ones evaluate and hold something.
var (
	goodCommits = [][]string{
		{"deployment web image=v1 replicas=3", "service web"},
		{"deployment web image=v2 replicas=3", "service web", "deployment api image=v1 replicas=2", "service api"},
		{"deployment web image=v2 replicas=1", "deployment api image=v2 strategy=recreate replicas=2", "service api"},
		{"deployment api image=v3 replicas=4 memory=300Mi", "service api", "node n1 unschedulable=true"},
		{"pod job image=v1", "service web"},
		{"deployment web image=v1 replicas=3 live=settings", "config settings mode=slow", "service web"},
		{"deployment web image=v1 replicas=3 live=settings", "config settings mode=fast", "secret settings word=one", "service web"},
	}
	badCommits = [][]string{
		{},
		{"error unexpected end of file"},
		{"deployment web image=v1 replicas=3", "error the service is broken"},
	}
)

// TestConverges: whatever happens, in whatever order, once it stops the machines run what the newest good commit says,
// and a further pass has nothing to do. No pod ends without having been drained on the way.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newScene(t)
		machines := []string{"n1", "n2", "n3"}
		w.command(rt, "machines n1 n2 n3")
		w.command(rt, "advance 2s")
		commits := 0
		commit := func(of [][]string) {
			commits++
			w.command(rt, fmt.Sprintf("commit c%d", commits), rapid.SampledFrom(of).Draw(rt, "objects")...)
		}
		commit(goodCommits)
		machine := rapid.SampledFrom(machines)
		rt.Repeat(map[string]func(*rapid.T){
			"commit":     func(*rapid.T) { commit(goodCommits) },
			"bad commit": func(*rapid.T) { commit(badCommits) },
			"reconcile":  func(t *rapid.T) { w.command(t, "reconcile") },
			"fault": func(t *rapid.T) {
				w.command(t, "reconcile fail="+rapid.SampledFrom([]string{"blob", "assignment", "complete"}).Draw(t, "kind"))
			},
			"obey":     func(t *rapid.T) { w.command(t, "obey "+machine.Draw(t, "machine")) },
			"obey all": func(t *rapid.T) { w.command(t, "obey") },
			"advance": func(t *rapid.T) {
				w.command(t, "advance "+rapid.SampledFrom([]string{"500ms", "3s", "12s"}).Draw(t, "time"))
			},
			"turn": func(t *rapid.T) {
				w.command(t, "turn "+machine.Draw(t, "machine")+" "+
					rapid.SampledFrom([]string{"slow", "quick", "cut", "healed"}).Draw(t, "how"))
			},
			"restart": func(t *rapid.T) {
				w.command(t, "restart "+rapid.SampledFrom([]string{"", "lose=all", "lose=assignments", "lose=statuses"}).Draw(t, "how"))
			},
		})
		final := rapid.SampledFrom(goodCommits).Draw(rt, "final objects")
		for _, m := range machines {
			w.command(rt, "turn "+m+" healed")
			w.command(rt, "turn "+m+" quick")
		}
		w.command(rt, "commit final", final...)
		for range 60 {
			for _, m := range machines {
				if w.bus.nodes[m].Name == "" || w.bus.statuses[m].Node == "" {
					w.command(rt, "rejoin "+m)
				}
			}
			w.command(rt, "reconcile")
			w.command(rt, "obey")
			w.command(rt, "advance 1s")
		}
		w.checkConverged(rt, final)
	})
}

// checkConverged holds that the machines run what the objects say, and that nothing is left to do.
func (w *scene) checkConverged(t *rapid.T, objects []string) {
	want := map[string]int{}
	for _, line := range objects {
		args := map[string]string{"replicas": "1"}
		fields := strings.Fields(line)
		for _, f := range fields[2:] {
			key, value, _ := strings.Cut(f, "=")
			args[key] = value
		}
		if fields[0] == "deployment" || fields[0] == "pod" {
			n := 0
			_, _ = fmt.Sscan(args["replicas"], &n)
			want[fields[1]+":"+args["image"]] = n
		}
	}
	got := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(w.machines)) {
		for _, p := range w.machines[name].pods {
			if p.Ready {
				got[p.Placement.Owner.Name+":"+p.Placement.Labels["image"]]++
			} else {
				t.Errorf("%s is not ready", describePod(p.Placement))
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the machines run %v, want %v\n%s", got, want, w.report())
	}
	if out, _ := w.reconcile(); out != "nothing to do" {
		t.Errorf("a further pass: %s", out)
	}
	found, _ := w.bus.State(t.Context())
	o := w.leader.state.desired.outcome
	revision := PreviewRevision{Revision: o.head, Objects: o.objects, Complete: o.whole}
	if p, err := NewPreview(PreviewInput{From: revision, To: revision, Fleet: found, Now: w.now}); err != nil || !p.Empty() {
		t.Errorf("planning again what is in force gives %+v, %v", p, err)
	}
}

// TestNothingIsLost: whatever is lost but machines and good commits, every pod that runs goes on running, and no other
// is started.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newScene(t)
		w.command(rt, "machines n1 n2 n3")
		w.command(rt, "advance 2s")
		w.command(rt, "commit good", rapid.SampledFrom(goodCommits).Draw(rt, "objects")...)
		for range 3 {
			w.command(rt, "reconcile")
			w.command(rt, "obey")
			w.command(rt, "advance 1s")
		}
		started := map[string]int{}
		for name, m := range w.machines {
			started[name] = len(m.started)
		}
		rejoin := func(t *rapid.T) {
			for _, m := range []string{"n1", "n2", "n3"} {
				if w.bus.nodes[m].Name == "" || w.bus.statuses[m].Node == "" {
					w.command(t, "rejoin "+m)
				}
			}
		}
		commits := 0
		rt.Repeat(map[string]func(*rapid.T){
			"bad commit": func(t *rapid.T) {
				commits++
				bad := rapid.SampledFrom([][]string{{}, {"error unexpected end of file"}}).Draw(t, "objects")
				w.command(t, fmt.Sprintf("commit bad%d", commits), bad...)
			},
			"repository fails": func(t *rapid.T) { w.command(t, "fail-repository", "gone") },
			"fault": func(t *rapid.T) {
				w.command(t, "reconcile fail="+rapid.SampledFrom([]string{"assignment", "routes", "complete"}).Draw(t, "kind"))
			},
			"reconcile": func(t *rapid.T) { w.command(t, "reconcile") },
			"obey":      func(t *rapid.T) { w.command(t, "obey") },
			"advance":   func(t *rapid.T) { w.command(t, "advance 1s") },
			"restart": func(t *rapid.T) {
				w.command(t, "restart "+rapid.SampledFrom([]string{"", "lose=all", "lose=assignments", "lose=statuses"}).Draw(t, "how"))
				rejoin(t)
			},
			"": func(t *rapid.T) {
				for name, m := range w.machines {
					if len(m.started) != started[name] || len(m.pods) != started[name] {
						t.Fatalf("%s started %v and runs %s", name, m.started, m)
					}
				}
			},
		})
	})
}

// TestOrderMakesNoDifference: two leaders that learn the same in another order decide the same.
func TestOrderMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
		result, err := parse(strings.Join(rapid.SampledFrom(goodCommits).Draw(rt, "objects"), "\n"))
		if err != nil {
			rt.Fatal(err)
		}
		names := []string{"n1", "n2", "n3"}
		decide := func(order []string) effects {
			bus := newFakeBus()
			s := newState(testLimits, fakeSeal, 1, State{}, now)
			for _, name := range order {
				m := newMachine(bus, name)
				s.observeNodes([]api.NodeInfo{m.info}, now)
				s.observeStatus(api.NodeStatus{Node: name, Time: now}, now)
			}
			s.observeCommit(compiled{head: api.Revision{Commit: "c"}, result: result}, now)
			return s.reconcile(now.Add(testLimits.settle))
		}
		if a, b := decide(names), decide(rapid.Permutation(names).Draw(rt, "order")); !reflect.DeepEqual(a, b) {
			rt.Errorf("decisions differ:\n%+v\n%+v", a, b)
		}
	})
}

// TestConfig: what is missing or cannot be is refused, all of it at once.
func TestConfig(t *testing.T) {
	good := Config{ID: "a", Source: &fakeSource{}, Compiler: fakeCompiler{}, Bus: newFakeBus(), Sealer: fakeSeal}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	_, err := New(Config{ServiceCIDR: "10.96", NodeLease: time.Second, LeaderLease: time.Minute, DrainTimeout: -1})
	for _, part := range []string{"ID", "Source", "Compiler", "Bus", "Sealer", "ServiceCIDR", "NodeLease", "LeaderLease", "DrainTimeout"} {
		if err == nil || !strings.Contains(err.Error(), "controller: "+part) {
			t.Errorf("%v does not tell of %s", err, part)
		}
	}
	if errors.Unwrap(err) != nil {
		t.Error("several errors are joined, not wrapped by one")
	}
}

// TestNothingIsDueAtOnce: a leader that has nothing to do does not turn in circles, though it knows no commit yet and a node
// that has joined says nothing.
func TestNothingIsDueAtOnce(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	s := newState(testLimits, fakeSeal, 1, State{}, now)
	s.observeNodes([]api.NodeInfo{{Name: "n1"}}, now)
	for range 3 {
		s.reconcile(now)
		due := s.due()
		if !due.IsZero() && !due.After(now) {
			t.Fatalf("at %s something is due since %s, which was done", now, due)
		}
		if due.IsZero() {
			return
		}
		now = due
	}
}

// TestHalfRefilledStoreIsFresh: nodes fill a store that was lost one by one, so that some are there does not say that all are.
func TestHalfRefilledStoreIsFresh(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	found := State{Nodes: []api.NodeInfo{{Name: "n1"}}, Statuses: []api.NodeStatus{{Node: "n1", Time: now}}}
	s := newState(testLimits, fakeSeal, 1, found, now)
	if s.reconcile(now); s.waiting == "" {
		t.Error("the leader does not wait for the other nodes")
	}
	if s.reconcile(now.Add(testLimits.settle)); s.waiting != "" {
		t.Errorf("after a while it still waits: %s", s.waiting)
	}
}
