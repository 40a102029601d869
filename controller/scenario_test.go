package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// TestScenarios runs the core, a fake store and fake machines by hand, one step at a time:
//
//	machines NAME...            they join, and report what they run
//	commit NAME [orphan]        objects in the fake language; "error" lines make it incomplete; an orphan has no history
//	reconcile [fail=KIND]       one pass: what it writes, and what it tells
//	obey [NAME...]              machines take up what they are assigned, report it, and acknowledge the routes
//	take-up [NAME...]           machines take up what they are assigned, and cannot report it yet
//	beat [NAME...] [sequence=N] machines give signs of life, and what the leader answers; N is what they obey
//	rejoin NAME...              machines tell a bus that forgot them who they are and what they run
//	end POD PHASE               a pod ends by itself
//	turn NAME slow|deaf|cut     or quick, hearing, healed
//	advance DURATION            time goes by; machines that are not cut give signs of life
//	restart [lose=...]          a new leader, with the store, or without all or some buckets of it
//	reverted COMMIT [HOW]       a revert that was ordered is made; or "proposed", "failed", "impossible"
//	fail-repository             the repository cannot be read, and why
//	preview [whole=false]       what the objects would change, from the head on
//	starts                      every pod that machines ever started
//	show                        what the store holds and the machines run
//	report                      what the controller says of the whole
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/reconcile", func(t *testing.T, path string) {
		w := newScene(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := w.run(d)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			if len(w.bus.misdeeds) > 0 {
				d.Fatalf(t, "misdeeds: %v", w.bus.misdeeds)
			}
			return out
		})
	})
}

// A scene is the core with its surroundings, and the time.
type scene struct {
	bus      *fakeBus
	source   *fakeSource
	leader   *leader
	follower *follower
	machines map[string]*machine
	now      time.Time
	names    map[string]string // of pods, as people read them, by their own name
	last     api.Report
}

var testLimits = limits{
	repository: "test", serviceCIDR: defaultServiceCIDR,
	nodeLease: 10 * time.Second, times: tenure.Of(40 * time.Second), drainTimeout: 5 * time.Second, settle: 2 * time.Second, revertGrace: 15 * time.Second, scalePeriod: 15 * time.Second,
}

func newScene(t *testing.T) *scene {
	t.Helper()
	w := &scene{
		bus: newFakeBus(), source: &fakeSource{}, machines: map[string]*machine{}, names: map[string]string{},
		now: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC),
	}
	w.lead()
	return w
}

// lead begins a new leader.
func (w *scene) lead() {
	w.bus.term++
	found, _ := w.bus.State(context.Background())
	lease := &fakeLease{bus: w.bus, term: w.bus.term}
	w.leader = &leader{config: Config{Bus: w.bus}, log: slog.New(slog.DiscardHandler), lease: lease, inbox: newInbox()}
	w.leader.state = newState(testLimits, fakeSeal, lease.term, found, w.now)
	stock, _ := w.bus.Blobs(context.Background())
	for _, d := range stock {
		w.leader.state.stock[d] = true
	}
	w.follower = &follower{compiler: fakeCompiler{}, log: w.leader.log, inbox: w.leader.inbox}
}

func (w *scene) run(d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "machines":
		for _, a := range d.CmdArgs {
			w.add(a.Key)
		}
		w.watch()
	case "commit":
		if d.HasArg("orphan") {
			w.source.head = nil
		}
		w.source.commit(d.CmdArgs[0].Key, strings.Split(d.Input, "\n")...)
		return w.deliver()
	case "reverted":
		r := reverted{commit: d.CmdArgs[0].Key, made: api.Revision{Branch: "main", Commit: "undo-" + d.CmdArgs[0].Key}}
		for _, a := range d.CmdArgs[1:] {
			switch a.Key {
			case "proposed":
				r.made.Branch = "headway/revert"
			case "failed":
				r.err = errors.New("the server cannot be reached")
			case "impossible":
				r.err = fmt.Errorf("%w: later commits changed the same files", ErrNotUndone)
			}
		}
		w.leader.inbox.reverted(r)
		w.leader.state.observe(w.leader.inbox.take(), w.now)
	case "fail-repository":
		w.leader.inbox.repository(d.Input)
	case "reconcile":
		for _, a := range d.CmdArgs {
			w.bus.faults[a.Vals[0]]++
		}
		return w.reconcile()
	case "obey":
		w.each(d.CmdArgs, func(m *machine) { m.obey(w.now) })
	case "take-up":
		w.each(d.CmdArgs, func(m *machine) { m.takeUp(w.now) })
	case "beat":
		return w.beat(d.CmdArgs), nil
	case "preview":
		return w.preview(d)
	case "rejoin":
		w.each(d.CmdArgs, func(m *machine) { m.join(w.now) })
		w.watch()
	case "rekey": // the machine has been made anew
		w.each(d.CmdArgs, func(m *machine) {
			m.info.SealKey = "new " + m.info.SealKey
			m.join(w.now)
		})
		w.watch()
	case "end":
		for _, m := range w.machines {
			m.end(d.CmdArgs[0].Key, api.PodPhase(d.CmdArgs[1].Key), w.now)
		}
	case "starts":
		var s strings.Builder
		w.each(nil, func(m *machine) { fmt.Fprintf(&s, "%s started %v\n", m.info.Name, m.started) })
		return s.String(), nil
	case "turn":
		m := w.machines[d.CmdArgs[0].Key]
		switch d.CmdArgs[1].Key {
		case "slow", "quick":
			m.slow = d.CmdArgs[1].Key == "slow"
		case "deaf", "hearing":
			m.deaf = d.CmdArgs[1].Key == "deaf"
		case "cut", "healed":
			m.cut, m.away = d.CmdArgs[1].Key == "cut", true
		}
	case "advance":
		return "", w.advance(d.CmdArgs[0].Key)
	case "restart":
		return w.restart(d)
	case "show":
		var s strings.Builder
		s.WriteString(w.bus.String())
		w.each(nil, func(m *machine) { fmt.Fprintln(&s, "runs", m) })
		return s.String(), nil
	case "report":
		return w.report(), nil
	default:
		return "", fmt.Errorf("no such command: %s", d.Cmd)
	}
	return "", nil
}

// add has a new machine join.
func (w *scene) add(name string) {
	m := newMachine(w.bus, name)
	w.machines[name] = m
	for _, other := range w.machines {
		other.peers = slices.Collect(maps.Values(w.machines))
	}
	m.join(w.now)
}

// each calls fn for the machines named, or for all, unless they are cut off.
func (w *scene) each(args []datadriven.CmdArg, fn func(*machine)) {
	for _, name := range slices.Sorted(maps.Keys(w.machines)) {
		named := slices.ContainsFunc(args, func(a datadriven.CmdArg) bool { return a.Key == name })
		if m := w.machines[name]; !m.cut && (named || len(args) == 0) {
			fn(m)
		}
	}
}

// deliver compiles the head.
func (w *scene) deliver() (string, error) {
	c, err := w.follower.compile(context.Background(), w.source.head)
	if err != nil {
		return "", err
	}
	w.follower.began = true
	w.leader.inbox.commit(c)
	return "", nil
}

// advance lets time go by in heartbeats.
func (w *scene) advance(by string) error {
	d, err := time.ParseDuration(by)
	if err != nil {
		return err
	}
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(min(time.Second, end.Sub(w.now)))
		w.each(nil, func(m *machine) {
			w.leader.state.observeBeat(api.Heartbeat{Node: m.info.Name, Term: m.given.Term}, w.now)
		})
	}
	return nil
}

// beat has machines give signs of life, and says what the leader answers.
func (w *scene) beat(args []datadriven.CmdArg) string {
	var s strings.Builder
	w.each(args, func(m *machine) {
		beat := api.Heartbeat{Node: m.info.Name, Term: m.given.Term, Obeys: m.given.Term, Sequence: m.given.Sequence, ID: 1}
		for _, a := range args {
			if a.Key == "sequence" {
				_, _ = fmt.Sscan(a.Vals[0], &beat.Sequence)
			}
		}
		w.leader.state.observeBeat(beat, w.now)
		switch g, ok := w.leader.state.grant(beat, w.now); {
		case !ok:
			fmt.Fprintf(&s, "%s: no answer\n", m.info.Name)
		case !g.Held:
			fmt.Fprintf(&s, "%s: refused: %s\n", m.info.Name, w.readable(g.Reason))
		case !g.Known:
			fmt.Fprintf(&s, "%s: held, for what runs\n", m.info.Name)
		default:
			fmt.Fprintf(&s, "%s: held\n", m.info.Name)
		}
	})
	return s.String()
}

// restart begins a new leader after some of the store was lost.
func (w *scene) restart(d *datadriven.TestData) (string, error) {
	w.bus.report = &w.last
	inForce := w.leader.state.inForce
	for _, a := range d.CmdArgs {
		for _, what := range a.Vals {
			switch what {
			case "all":
				w.bus.lose()
				inForce = nil
			case "assignments":
				w.bus.assignments = map[string]api.Assignment{}
			case "nodes":
				w.bus.nodes = map[string]api.NodeInfo{}
			case "statuses":
				w.bus.statuses = map[string]api.NodeStatus{}
			case "blobs":
				w.bus.blobs = map[api.Digest][]byte{}
			default:
				return "", errors.New("nothing is called " + what)
			}
		}
	}
	w.lead()
	w.leader.state.inForce = inForce
	w.leader.state.readTemplates(context.Background(), w.bus, w.leader.log)
	if w.source.head != nil {
		return w.deliver()
	}
	return "", nil
}

// watch delivers what the bus holds to the core, which is what the watches do.
func (w *scene) watch() {
	found, _ := w.bus.State(context.Background())
	w.leader.inbox.nodes(found.Nodes)
	mail := w.leader.inbox.take()
	for _, status := range found.Statuses {
		mail.statuses[status.Node] = seen[api.NodeStatus]{status, w.now}
	}
	mail.acks = w.bus.acks
	w.leader.state.observe(mail, w.now)
}

// reconcile makes one pass and prints what it wrote and told.
func (w *scene) reconcile() (string, error) {
	w.watch()
	s := w.leader.state
	if above := s.outranked(); above > 0 {
		_ = w.leader.lease.Raise(context.Background(), above)
		s.raised(w.leader.lease.Term())
	}
	w.bus.writes = nil
	e := s.reconcile(w.now)
	for _, n := range s.nodes {
		for _, p := range n.pods {
			w.names[p.placement.Pod.Name] = describePod(p.placement)
		}
	}
	if s.planned {
		if err := s.checkBook(); err != nil {
			return "", err
		}
	}
	failure := w.leader.write(context.Background(), e)
	if s.planned {
		if err := s.checkBook(); err != nil {
			return "", err
		}
	}
	w.leader.readReplaced(context.Background())
	w.last = s.report(w.now, failure)
	var out strings.Builder
	for _, line := range w.bus.writes {
		fmt.Fprintln(&out, line)
	}
	for _, order := range e.reverts {
		fmt.Fprintf(&out, "revert %s:\n  %s\n", order.commit, w.readable(strings.ReplaceAll(strings.TrimSpace(order.message), "\n", "\n  ")))
	}
	for _, ev := range e.events {
		w.bus.record(ev)
		fmt.Fprintln(&out, w.readable(fmt.Sprintf("%s %s: %s", ev.Kind, ev.Ref.Name, ev.Reason)))
	}
	if failure != nil {
		fmt.Fprintln(&out, "failed:", strings.ReplaceAll(failure.Error(), "\n", "; "))
	}
	if s.waiting != "" {
		fmt.Fprintln(&out, s.waiting)
	}
	if out.Len() == 0 {
		return "nothing to do", nil
	}
	return out.String(), nil
}

// preview prints what a change of the head would do.
func (w *scene) preview(d *datadriven.TestData) (string, error) {
	from, err := parse(w.source.head.text)
	if err != nil {
		return "", err
	}
	to, err := parse(d.Input)
	if err != nil {
		return "", err
	}
	found, err := w.bus.State(context.Background())
	if err != nil {
		return "", err
	}
	p, err := NewPreview(PreviewInput{
		From:  PreviewRevision{Revision: w.source.head.revision, Objects: from.Objects, Complete: true},
		To:    PreviewRevision{Revision: api.Revision{Commit: "next"}, Objects: to.Objects, Complete: !d.HasArg("whole")},
		Fleet: found, Now: w.now,
	})
	if err != nil {
		return "", err
	}
	var s strings.Builder
	for _, o := range p.Objects {
		fmt.Fprintln(&s, o.Kind, o.Ref)
	}
	for i, step := range p.Steps {
		for _, a := range step.Actions {
			fmt.Fprintf(&s, "step %d: %s pod of %s on %q: %s; %s\n", i+1, a.Kind, a.Pod.Owner.Name, a.Node, w.readable(a.Reason), a.NodeReason)
		}
		for _, u := range step.Updates {
			fmt.Fprintf(&s, "step %d: update pod of %s in place: %s\n", i+1, u.Pod.Owner.Name, u.Reason)
		}
	}
	for _, g := range p.Together {
		fmt.Fprintln(&s, "together", g.Name, g.Members)
	}
	if p.Empty() {
		return "nothing to do", nil
	}
	return s.String(), nil
}

// readable puts names that people read in the place of pods' own.
func (w *scene) readable(s string) string {
	for own, name := range w.names {
		s = strings.ReplaceAll(s, own, name)
	}
	return s
}

func (w *scene) report() string {
	r := w.last
	var s strings.Builder
	fmt.Fprintf(&s, "term %d head %s deployed %s\n", r.Term, r.Head.Commit, r.Deployed.Commit)
	for _, p := range r.Refused {
		fmt.Fprintln(&s, "refused", p)
	}
	for _, wl := range r.Workloads {
		fmt.Fprintf(&s, "%s %s: %s\n", wl.Ref.Name, wl.State, w.readable(wl.Reason))
	}
	for _, p := range r.Pending {
		fmt.Fprintf(&s, "pending pod of %s: %s\n", p.Owner.Name, p.Reason)
	}
	for _, n := range r.Nodes {
		fmt.Fprintf(&s, "%s %s, %d pods %s\n", n.Name, n.State, n.Pods, n.Reason)
	}
	return s.String()
}
