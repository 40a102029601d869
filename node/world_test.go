package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/fakehost"
	"headway.dev/headway/node/logfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a machine, a bus, and the agent between them, in a bubble of its own time.
type world struct {
	testing.TB
	host      *fakehost.Host
	bus       *fakeBus
	dir       string
	agent     *node.Agent
	entrance  node.Ingress // nil: it serves nothing from outside
	stop      func()
	stopped   func() // is called when the agent has been told to stop
	templates map[string]api.Digest
	live      *api.LiveConfig // of the pods of the next assignments
	sets      map[string]bool // the templates whose pods are of a StatefulSet
	isolation *api.Isolation  // of the next assignments
	witnesses *fakeWitnesses
	begun     time.Time // when the machine was started first
}

func newWorld(t testing.TB, options fakehost.Options) *world {
	return &world{TB: t, host: fakehost.New(options), bus: newFakeBus(), dir: t.TempDir(), templates: map[string]api.Digest{}, sets: map[string]bool{}, witnesses: &fakeWitnesses{}, begun: time.Now(), stop: func() {}}
}

func (w *world) config() node.Config {
	return node.Config{
		Info: api.NodeInfo{Name: "n1", PodCIDR: "10.244.0.0/24"}, Dir: w.dir, Bus: w.bus,
		Runtime: w.host.Runtime(), Network: w.host.Network(), Router: w.host.Router(), Images: w.host.Images(),
		Prober: w.host.Prober(), Volumes: w.host.Volumes(), Logs: logfile.New(),
		Secrets: reversed{}, Ingress: w.entrance, Boot: w.host.Boot(), Witnesses: w.witnesses, Uptime: func() time.Duration { return time.Since(w.begun) }, StatusBurst: math.MaxInt, HostIP: "192.0.2.1", Nameserver: "10.244.0.1", Domain: "cluster.local",
	}
}

// start has a new agent run, as after a restart of the daemon.
func (w *world) start() {
	w.Helper()
	w.startBy(func(*node.Config) {})
}

// startBy has one run with another configuration.
func (w *world) startBy(change func(*node.Config)) {
	w.Helper()
	w.stop()
	config := w.config()
	change(&config)
	agent, err := node.New(config)
	if err != nil {
		w.Fatal(err)
	}
	w.agent = agent
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	w.stop = func() {
		cancel()
		if w.stopped != nil {
			w.stopped()
		}
		if err := <-done; err != nil {
			w.Errorf("Run: %v", err)
		}
		w.stop = func() {}
	}
}

// pass lets time pass, and everything come to rest.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
	synctest.Wait()
}

// template stores a pod template under a name.
func (w *world) template(name string, t api.PodTemplate, configs map[string]api.ConfigData) {
	w.Helper()
	for config, data := range configs {
		if t.ConfigMaps == nil {
			t.ConfigMaps = map[string]api.Digest{}
		}
		t.ConfigMaps[config] = w.blob(data)
	}
	w.templates[name] = w.blob(t)
}

func (w *world) blob(value any) api.Digest {
	w.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		w.Fatal(err)
	}
	return w.bus.put(data)
}

// placement gives the placement of a pod; its UID is its name with u- before it.
func (w *world) placement(name, template, commit string) api.Placement {
	kind := "Deployment"
	if w.sets[template] {
		kind = "StatefulSet"
	}
	return api.Placement{Node: "n1", Live: w.live, PodIdentity: api.PodIdentity{
		Pod: api.PodRef("shop", name), UID: "u-" + name, Owner: api.Ref{Kind: kind, Namespace: "shop", Name: template},
		Template: w.templates[template], Commit: commit,
	}}
}

// assign puts an assignment; each pod is NAME:TEMPLATE.
func (w *world) assign(term api.Term, sequence uint64, commit string, pods ...string) {
	w.Helper()
	a := api.Assignment{Node: "n1", Term: term, Sequence: sequence, Commit: commit, Pods: []api.Placement{}, Isolation: w.isolation}
	for _, pod := range pods {
		name, template, _ := strings.Cut(pod, ":")
		if w.templates[template] == "" {
			w.Fatalf("there is no template %q", template)
		}
		a.Pods = append(a.Pods, w.placement(name, template, commit))
	}
	w.bus.change(func() { w.bus.assignment = &a })
}

// statusText prints the newest status, with the pods' addresses if they are asked for.
func (w *world) statusText(addresses bool) string {
	s := w.bus.lastStatus()
	var b strings.Builder
	fmt.Fprintf(&b, "term %d sequence %d\n", s.Term, s.Sequence)
	for _, p := range s.Pods {
		fmt.Fprintf(&b, "%s %s", p.Placement.Pod.Name, p.Phase)
		if p.Ready {
			b.WriteString(" ready")
		}
		if addresses && p.IP != "" {
			b.WriteString(" " + p.IP)
		}
		for _, part := range []string{p.Reason, p.Message} {
			if part != "" {
				b.WriteString(": " + part)
			}
		}
		b.WriteByte('\n')
		for i, c := range slices.Concat(p.InitContainers, p.Containers) {
			mark := "  "
			if i < len(p.InitContainers) {
				mark = "  init "
			}
			fmt.Fprintf(&b, "%s%s %s", mark, c.Name, c.State)
			if c.State == "terminated" {
				fmt.Fprintf(&b, " %d", c.ExitCode)
			}
			if c.Restarts > 0 {
				fmt.Fprintf(&b, " restarts=%d", c.Restarts)
			}
			if c.Ready {
				b.WriteString(" ready")
			}
			if c.Reason != "" {
				b.WriteString(" " + c.Reason)
			}
			if l := c.LastState; l != nil {
				fmt.Fprintf(&b, " last=%s/%d", l.Reason, l.ExitCode)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// conditionsText prints the conditions of all pods, with how long ago each changed.
func (w *world) conditionsText() string {
	var b strings.Builder
	for _, p := range w.bus.lastStatus().Pods {
		fmt.Fprintf(&b, "%s\n", p.Placement.Pod.Name)
		for _, c := range p.Conditions {
			line := fmt.Sprintf("  %s %t for %v %s %s", c.Type, c.True, time.Since(c.Since).Round(time.Millisecond), c.Reason, c.Message)
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	return b.String()
}

// messagesText prints the messages of all containers that have one, and when they run again.
func (w *world) messagesText() string {
	var b strings.Builder
	for _, p := range w.bus.lastStatus().Pods {
		for _, c := range slices.Concat(p.InitContainers, p.Containers) {
			fmt.Fprintf(&b, "%s/%s: %q", p.Placement.Pod.Name, c.Name, c.Message)
			if l := c.LastState; l != nil {
				fmt.Fprintf(&b, " last %q after %v", l.Message, l.Finished.Sub(l.Started))
			}
			if !c.RestartAt.IsZero() {
				fmt.Fprintf(&b, " again in %v", time.Until(c.RestartAt).Round(time.Millisecond))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// files lists what the agent has on disk, but for its lock.
func (w *world) files() string {
	w.Helper()
	var b strings.Builder
	err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			rest, _ := filepath.Rel(w.dir, path)
			fmt.Fprintln(&b, rest)
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return b.String()
}

// cleanup runs Cleanup with what headway node --cleanup gives it.
func (w *world) cleanup() error {
	c := w.config()
	agent, err := node.New(node.Config{Info: c.Info, Dir: c.Dir, Runtime: c.Runtime, Network: c.Network, Volumes: c.Volumes})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return agent.Cleanup(ctx)
}
