package node_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/api"
	"headway.dev/headway/node/fakehost"
)

// TestScenarios plays the stories of testdata on a fake machine, in a time of its own. go test -rewrite writes the
// output anew.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			s := &scenario{world: newWorld(t, fakehost.Options{})}
			defer func() { s.stop() }()
			datadriven.RunTest(t, path, s.do)
		})
	})
}

// A scenario is a world with what the story has printed of it.
type scenario struct {
	*world
	calls, events int
	mu            sync.Mutex
	failing       string // the call that fails next
}

// commands are the words of the stories.
var commands = map[string]func(*scenario, *datadriven.TestData) string{
	"template":   (*scenario).doTemplate,
	"start":      func(s *scenario, _ *datadriven.TestData) string { s.start(); return s.rest(0) },
	"stop":       func(s *scenario, _ *datadriven.TestData) string { s.stop(); return s.rest(0) },
	"assign":     (*scenario).doAssign,
	"pass":       (*scenario).doPass,
	"status":     func(s *scenario, d *datadriven.TestData) string { return s.statusText(arg(d, 0) == "addresses") },
	"conditions": func(s *scenario, _ *datadriven.TestData) string { return s.conditionsText() },
	"messages":   func(s *scenario, _ *datadriven.TestData) string { return s.messagesText() },
	"reboot":     func(s *scenario, _ *datadriven.TestData) string { s.host.Reboot(); return "" },
	"shutdown":   (*scenario).doShutdown,
	"host":       func(s *scenario, _ *datadriven.TestData) string { return s.host.String() },
	"files":      func(s *scenario, _ *datadriven.TestData) string { return s.files() },
	"calls":      (*scenario).doCalls,
	"events":     (*scenario).doEvents,
	"image":      (*scenario).doImage,
	"exit":       (*scenario).doExit,
	"lose":       (*scenario).doLose,
	"probe":      (*scenario).doProbe,
	"fail":       (*scenario).doFail,
	"bus":        (*scenario).doBus,
	"wipe":       (*scenario).doWipe,
	"routes":     (*scenario).doRoutes,
	"nodes":      (*scenario).doNodes,
	"isolate":    (*scenario).doIsolate,
	"live":       (*scenario).doLive,
	"cat":        (*scenario).doCat,
	"cleanup":    (*scenario).doCleanup,
	"leader":     (*scenario).doLeader,
	"witnesses":  (*scenario).doWitnesses,
}

func (s *scenario) do(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	command, found := commands[d.Cmd]
	if !found {
		d.Fatalf(t, "no such command: %s", d.Cmd)
	}
	if out := command(s, d); out != "" {
		return out
	}
	return "ok\n"
}

func (s *scenario) rest(d time.Duration) string { pass(d); return "" }

func arg(d *datadriven.TestData, i int) string {
	if i < len(d.CmdArgs) {
		return d.CmdArgs[i].Key
	}
	return ""
}

func (s *scenario) doTemplate(d *datadriven.TestData) string {
	var input struct {
		api.PodTemplate
		Configs map[string]api.ConfigData `json:"configs"`
	}
	if err := yaml.UnmarshalStrict([]byte(d.Input), &input); err != nil {
		return err.Error()
	}
	s.template(arg(d, 0), input.PodTemplate, input.Configs)
	s.sets[arg(d, 0)] = arg(d, 1) == "set"
	return ""
}

func (s *scenario) doAssign(d *datadriven.TestData) string {
	var term, sequence int
	var commit string
	var pods []string
	d.ScanArgs(s.TB.(*testing.T), "term", &term)
	d.ScanArgs(s.TB.(*testing.T), "seq", &sequence)
	d.MaybeScanArgs(s.TB.(*testing.T), "commit", &commit)
	if line := strings.Fields(d.Input); len(line) > 0 {
		pods = line
	}
	s.assign(api.Term(term), uint64(sequence), commit, pods...)
	return s.rest(0)
}

// doIsolate sets what isolates the pods of the next assignments.
func (s *scenario) doIsolate(d *datadriven.TestData) string {
	s.isolation = nil
	if d.Input == "" {
		return ""
	}
	if err := yaml.UnmarshalStrict([]byte(d.Input), &s.isolation); err != nil {
		return err.Error()
	}
	return ""
}

// doLive sets what changes in place of the pods of the next assignments: NAME: {KEY: TEXT}. A config map without keys is
// not stored, and one of null is optional and not declared.
func (s *scenario) doLive(d *datadriven.TestData) string {
	var input map[string]map[string]string
	if err := yaml.UnmarshalStrict([]byte(d.Input), &input); err != nil {
		return err.Error()
	}
	s.live = &api.LiveConfig{ConfigMaps: map[string]api.LiveContent{}}
	for name, data := range input {
		c := api.LiveContent{Optional: true}
		switch {
		case len(data) > 0:
			c.Digest = s.blob(api.ConfigData{Data: data})
		case data != nil:
			c.Digest = "nowhere"
		}
		s.live.ConfigMaps[name] = c
	}
	return ""
}

func (s *scenario) doPass(d *datadriven.TestData) string {
	duration, err := time.ParseDuration(arg(d, 0))
	if err != nil {
		return err.Error()
	}
	return s.rest(duration)
}

// doCalls prints the calls since the last time that change the machine: images first, and then by pod. What a pod does
// at the same time is in the order of its name.
func (s *scenario) doCalls(*datadriven.TestData) string {
	var images []string
	pods := map[string][]string{}
	all := s.host.Calls()
	for _, c := range all[s.calls:] {
		uid, _, _ := strings.Cut(c.What, ".")
		line := c.Op + " " + c.What + "\n"
		switch c.Op {
		case "Containers", "ContainersOf", "Sandboxes", "Pods", "Snapshot", "SetPeers", "Apply", "Isolate":
		case "Ensure":
			images = append(images, line)
		case "Attach":
			if n := len(pods[uid]); n > 0 && strings.HasPrefix(pods[uid][n-1], "Prepare") {
				pods[uid] = slices.Insert(pods[uid], n-1, line)
				continue
			}
			pods[uid] = append(pods[uid], line)
		case "Exec":
			// Hooks begin beside each other, and beside the removing of old runs.
			i := len(pods[uid])
			for i > 0 && (strings.HasPrefix(pods[uid][i-1], "Remove ") || strings.HasPrefix(pods[uid][i-1], "Exec") && pods[uid][i-1] > line) {
				i--
			}
			pods[uid] = slices.Insert(pods[uid], i, line)
		default:
			pods[uid] = append(pods[uid], line)
		}
	}
	s.calls = len(all)
	slices.Sort(images)
	out := strings.Join(images, "")
	for _, uid := range slices.Sorted(maps.Keys(pods)) {
		out += strings.Join(pods[uid], "")
	}
	return out
}

func (s *scenario) doEvents(*datadriven.TestData) string {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	var b strings.Builder
	// Those of a pod are in order; which of two pods was first is not said. Images are pulled beside what else a pod does, so that
	// of one moment what became of a pull is told first.
	news := slices.Clone(s.bus.events[s.events:])
	other := func(e api.Event) int {
		if strings.Contains(e.Reason, "ImagePull") {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(news, func(a, b api.Event) int {
		return cmp.Or(a.Ref.Compare(b.Ref), a.Time.Compare(b.Time), cmp.Compare(other(a), other(b)))
	})
	for _, e := range news {
		mark := ""
		if e.Warning {
			mark = "!"
		}
		fmt.Fprintf(&b, "%s%s %s (%s) %s\n", mark, e.Kind, e.Ref.Name, e.Commit, e.Reason)
	}
	s.events = len(s.bus.events)
	return b.String()
}

func (s *scenario) doImage(d *datadriven.TestData) string {
	s.host.SetImage(arg(d, 0), arg(d, 1))
	return ""
}

func (s *scenario) doExit(d *datadriven.TestData) string {
	var code int
	if _, err := fmt.Sscan(arg(d, 1), &code); err != nil {
		return err.Error()
	}
	s.host.Exit(arg(d, 0), code)
	return s.rest(0)
}

func (s *scenario) doLose(d *datadriven.TestData) string {
	s.host.Lose(arg(d, 0))
	return s.rest(0)
}

// doProbe sets which paths and ports fail: those that are named.
func (s *scenario) doProbe(d *datadriven.TestData) string {
	bad := map[string]bool{}
	for _, a := range d.CmdArgs {
		bad[a.Key] = true
	}
	s.host.SetProbe(func(h corev1.ProbeHandler, _ netip.Addr) error {
		switch {
		case h.HTTPGet != nil && bad[h.HTTPGet.Path]:
			return errors.New("503")
		case h.TCPSocket != nil && bad["tcp"]:
			return errors.New("connection refused")
		case h.GRPC != nil && bad["grpc"]:
			return errors.New("NOT_SERVING")
		}
		return nil
	})
	return ""
}

// doFail has the next call of an operation fail before its effect.
func (s *scenario) doFail(d *datadriven.TestData) string {
	s.mu.Lock()
	s.failing = arg(d, 0)
	always := arg(d, 1) == "always"
	s.mu.Unlock()
	s.host.SetFault(func(c fakehost.Call) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.After || c.Op != s.failing {
			return nil
		}
		if !always {
			s.failing = ""
		}
		return errors.New("disk full")
	})
	return ""
}

func (s *scenario) doBus(d *datadriven.TestData) string {
	s.bus.change(func() {
		switch arg(d, 0) {
		case "away":
			s.bus.away = true
		case "back":
			s.bus.away = false
		case "empty":
			s.bus.assignment, s.bus.table, s.bus.nodes, s.bus.blobs = nil, nil, nil, map[api.Digest][]byte{}
		}
	})
	return s.rest(0)
}

// doWipe removes files of the agent, as when a disk is lost.
func (s *scenario) doWipe(d *datadriven.TestData) string {
	for _, a := range d.CmdArgs {
		if err := os.RemoveAll(filepath.Join(s.dir, a.Key)); err != nil {
			return err.Error()
		}
	}
	return ""
}

// doRoutes puts a table: a revision, and a line of service, cluster IP and endpoints for each route.
func (s *scenario) doRoutes(d *datadriven.TestData) string {
	if len(d.CmdArgs) == 0 {
		s.bus.mu.Lock()
		defer s.bus.mu.Unlock()
		return fmt.Sprintln("acknowledged", s.bus.acks)
	}
	var table api.RouteTable
	if _, err := fmt.Sscan(arg(d, 0), &table.Revision); err != nil {
		return err.Error()
	}
	for line := range strings.Lines(d.Input) {
		fields := strings.Fields(line)
		r := api.Route{Service: api.Ref{Kind: "Service", Namespace: "shop", Name: fields[0]}, ClusterIP: fields[1]}
		for _, ip := range fields[2:] {
			r.Endpoints = append(r.Endpoints, api.Endpoint{IP: ip})
		}
		table.Routes = append(table.Routes, r)
	}
	s.bus.change(func() { s.bus.table = &table })
	return s.rest(0)
}

// doNodes lists nodes by name and range.
func (s *scenario) doNodes(d *datadriven.TestData) string {
	var nodes []api.NodeInfo
	for line := range strings.Lines(d.Input) {
		fields := strings.Fields(line)
		nodes = append(nodes, api.NodeInfo{Name: fields[0], PodCIDR: fields[1]})
	}
	s.bus.change(func() { s.bus.nodes = nodes })
	return s.rest(0)
}

func (s *scenario) doCat(d *datadriven.TestData) string {
	data, err := os.ReadFile(filepath.Join(s.dir, arg(d, 0)))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// doShutdown shuts the machine down, within a time.
func (s *scenario) doShutdown(d *datadriven.TestData) string {
	within, err := time.ParseDuration(arg(d, 0))
	if err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := s.agent.Shutdown(ctx); err != nil {
		return err.Error()
	}
	return s.rest(0)
}

func (s *scenario) doCleanup(*datadriven.TestData) string {
	s.stop()
	if err := s.cleanup(); err != nil {
		return err.Error()
	}
	return s.rest(0)
}
