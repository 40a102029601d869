package conformance

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

const nodeName = "conformance"

// A Machine is what an agent drives, for the cases about whole pods.
type Machine struct {
	// Config is the agent's configuration, complete but for Info, Dir and Bus.
	Config node.Config
	// Image is on the machine and holds busybox, as a Host's.
	Image string
	// SetDevices has the machine have the devices of Widget with these names, and no others.
	SetDevices func(t testing.TB, names ...string)
	// AddImage brings one more image like Image to the machine, which no pod uses and which can come again, and gives its name.
	AddImage func(t testing.TB) string
	// DropImage takes an image away, behind the agent's back.
	DropImage func(t testing.TB, image string)
	// Freeze stops a running container's processes where they are, and Limit bounds its memory, in bytes, as somebody else
	// would behind the agent's back.
	Freeze func(ctx context.Context, id string) error
	Limit  func(ctx context.Context, id string, memory int64) error
	// Reaches reports whether a pod can open a connection to another's TCP port, for NetworkPolicyCases.
	Reaches func(t testing.TB, from, to api.PodStatus, port uint16) bool
}

// A PodCase is one line of what Kubernetes promises of pods. Its name is that of the e2e-node case that it mirrors.
type PodCase struct {
	Name string
	// Test runs the case. It may run in a bubble of its own time.
	Test func(t testing.TB, m Machine)
}

// A stage runs an agent with pods for one case.
type stage struct {
	testing.TB
	machine Machine
	bus     *stageBus
	config  node.Config
	agent   *node.Agent
	pods    []api.Placement
	stop    func()
}

func newStage(t testing.TB, m Machine) *stage {
	t.Helper()
	s := &stage{TB: t, machine: m, bus: newStageBus(), config: m.Config, stop: func() {}}
	s.config.Dir = t.TempDir()
	s.config.Info = api.NodeInfo{Name: nodeName}
	s.config.Bus = s.bus
	s.config.Restart = node.Restart{First: 200 * time.Millisecond, Most: 400 * time.Millisecond}
	s.start()
	t.Cleanup(func() {
		s.bus.assign(nil)
		s.until("all pods are gone", func() bool {
			return !slices.ContainsFunc(s.pods, func(p api.Placement) bool { _, found := s.bus.pod(p.UID); return found })
		})
		s.stop()
	})
	return s
}

// start has a new agent run, as after a restart of the daemon.
func (s *stage) start() {
	s.Helper()
	s.stop()
	var err error
	if s.agent, err = node.New(s.config); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func(agent *node.Agent) { done <- agent.Run(ctx) }(s.agent)
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.Errorf("Run: %v", err)
		}
	}
}

// run assigns one more pod, by its spec in YAML, and gives its UID. IMAGE stands for the machine's image.
func (s *stage) run(name, spec string) string {
	s.Helper()
	return s.runWith(name, spec, func(*api.PodTemplate, *api.Placement) {})
}

// runWith is run for a pod of which there is more to say than its spec.
func (s *stage) runWith(name, spec string, more func(*api.PodTemplate, *api.Placement)) string {
	s.Helper()
	var t api.PodTemplate
	data, err := yaml.YAMLToJSONStrict([]byte(strings.ReplaceAll(spec, "IMAGE", s.machine.Image)))
	if err == nil {
		err = json.Unmarshal(data, &t.Spec)
	}
	if err != nil {
		s.Fatal(err)
	}
	if t.Spec.TerminationGracePeriodSeconds == nil {
		t.Spec.TerminationGracePeriodSeconds = new(int64(2))
	}
	for _, all := range [][]corev1.Container{t.Spec.InitContainers, t.Spec.Containers} {
		for i := range all {
			all[i].ImagePullPolicy = corev1.PullIfNotPresent
		}
	}
	var placement api.Placement
	more(&t, &placement)
	digest, err := s.bus.put(t)
	if err != nil {
		s.Fatal(err)
	}
	uid := uidFor(name + "-" + string(digest[:8]))
	placement.Node, placement.PodIdentity = nodeName, api.PodIdentity{
		Pod: api.PodRef("conformance", name), UID: uid, Owner: api.PodRef("conformance", name), Template: digest,
	}
	s.pods = append(s.pods, placement)
	s.bus.assign(s.pods)
	return uid
}

// until waits for a condition, and says what never came true, and how all pods are then.
func (s *stage) until(what string, condition func() bool) {
	s.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; !condition(); <-tick.C {
		if time.Now().After(deadline) {
			data, _ := json.MarshalIndent(s.bus.status.Pods, "", " ")
			s.Fatalf("not after %v: %s; the pods are\n%s", patience, what, data)
		}
	}
}

// comes waits until a pod is as a condition asks, and gives its status.
func (s *stage) comes(uid, what string, condition func(api.PodStatus) bool) api.PodStatus {
	s.Helper()
	var p api.PodStatus
	s.until(what, func() bool {
		var found bool
		p, found = s.bus.pod(uid)
		return found && condition(p)
	})
	return p
}

// ends waits until a pod has ended so.
func (s *stage) ends(uid string, phase api.PodPhase) api.PodStatus {
	s.Helper()
	return s.comes(uid, "the pod has "+string(phase), func(p api.PodStatus) bool { return p.Phase == phase })
}

// container gives the status of a container.
func container(p api.PodStatus, name string) api.ContainerStatus {
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		if c.Name == name {
			return c
		}
	}
	return api.ContainerStatus{}
}

// inOrder checks that of two containers the second began, or ended, no earlier than the first ended.
func (s *stage) inOrder(first string, ended time.Time, second string, then time.Time) {
	s.Helper()
	if ended.IsZero() || then.Before(ended) {
		s.Errorf("%s at %v, and %s at %v", first, ended, second, then)
	}
}
