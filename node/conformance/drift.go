package conformance

import (
	"context"
	"syscall"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

const runsOn = `
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "trap 'exit 0' TERM; echo up; sleep 100000 & wait"]}`

// behind does something to the running container of a pod as somebody else would, behind the agent's back.
func (s *stage) behind(uid string, do func(ctx context.Context, id string) error) {
	s.Helper()
	ctx := context.Background()
	containers, err := s.config.Runtime.Containers(ctx)
	if err != nil {
		s.Fatal(err)
	}
	for _, c := range containers {
		if c.PodUID == uid && c.State == "running" {
			if err := do(ctx, c.ID); err != nil {
				s.Fatal(err)
			}
		}
	}
}

func (s *stage) kill(ctx context.Context, id string) error {
	return s.config.Runtime.Signal(ctx, id, syscall.SIGKILL)
}

// restarted waits until the container of a pod runs after so many restarts.
func (s *stage) restarted(uid string, restarts int) {
	s.Helper()
	s.comes(uid, "it runs again", func(p api.PodStatus) bool {
		c := container(p, "run")
		return c.State == "running" && c.Restarts == restarts
	})
}

// drifted waits until so much drift of the pod has been told.
func (s *stage) drifted(times int) {
	s.Helper()
	s.until("the drift is told", func() bool { return s.bus.told("Drift", api.PodRef("conformance", "drift")) == times })
}

// driftHealed removes and kills a container. That one ends by itself is no drift.
func driftHealed(s *stage) {
	uid := s.run("drift", runsOn)
	s.restarted(uid, 0)
	s.behind(uid, s.config.Runtime.Remove)
	s.restarted(uid, 1)
	s.drifted(1)
	s.behind(uid, s.kill)
	s.restarted(uid, 2)
	s.drifted(2)
	s.says(uid, "up") // and hears the signal
	s.behind(uid, func(ctx context.Context, id string) error { return s.config.Runtime.Signal(ctx, id, syscall.SIGTERM) })
	s.restarted(uid, 3)
	s.drifted(2)
}

// driftReported leaves a container that was removed as it is, restarts one that ended by itself, and heals both once it is
// asked to.
func driftReported(s *stage) {
	s.bus.drift(api.DriftReport)
	uid, other := s.run("drift", runsOn), s.run("other", runsOn)
	s.restarted(uid, 0)
	s.restarted(other, 0)
	s.behind(uid, s.config.Runtime.Remove)
	p := s.comes(uid, "it has drifted", func(p api.PodStatus) bool { return container(p, "run").Reason == "Drifted" })
	if c := container(p, "run"); c.State != "waiting" || p.Ready {
		s.Errorf("the pod is ready: %v; %+v", p.Ready, c)
	}
	s.drifted(1)
	s.says(other, "up")
	s.behind(other, func(ctx context.Context, id string) error { return s.config.Runtime.Signal(ctx, id, syscall.SIGTERM) })
	s.restarted(other, 1)
	s.start() // a new agent leaves it as well, and says nothing twice
	s.restarted(other, 1)
	s.comes(uid, "it has drifted", func(p api.PodStatus) bool { return container(p, "run").Reason == "Drifted" })
	s.bus.drift(api.DriftHeal)
	s.restarted(uid, 1)
	s.drifted(1)
}

const limited = `
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap 'exit 0' TERM; echo up; sleep 100000 & wait"]
  resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 500m, memory: 32Mi}}`

// unaltered waits until the running container of a pod is as it was made.
func (s *stage) unaltered(uid string) {
	s.Helper()
	s.until("the container is as it was made", func() bool { return s.altered(uid) == "" })
}

// altered says what of the running container of a pod somebody has changed.
func (s *stage) altered(uid string) (what string) {
	s.Helper()
	keeper, keeps := s.config.Runtime.(node.ContainerKeeper)
	if !keeps {
		s.Fatal("the runtime keeps no containers")
	}
	s.behind(uid, func(ctx context.Context, id string) (err error) {
		what, err = keeper.Altered(ctx, id)
		return err
	})
	return what
}

// bound gives the running container of a pod another limit of memory.
func (s *stage) bound(uid string, memory int64) {
	s.Helper()
	s.behind(uid, func(ctx context.Context, id string) error { return s.machine.Limit(ctx, id, memory) })
}

// driftAltered freezes a container, and bounds those that have a limit and those that have none. Nothing restarts.
func driftAltered(s *stage) {
	uid, other := s.run("drift", limited), s.run("other", runsOn)
	for _, uid := range []string{uid, other} {
		s.restarted(uid, 0)
		if what := s.altered(uid); what != "" {
			s.Errorf("nobody has touched it, and it %s", what)
		}
	}
	s.behind(uid, s.machine.Freeze)
	s.drifted(1)
	s.unaltered(uid)
	s.bound(uid, 64<<20)
	s.drifted(2)
	s.unaltered(uid)
	s.bound(other, 64<<20)
	s.until("the drift is told", func() bool { return s.bus.told("Drift", api.PodRef("conformance", "other")) == 1 })
	s.unaltered(other)
	s.drifted(2)
	s.restarted(uid, 0)
	s.restarted(other, 0)
}

// driftAlteredReported leaves a frozen container as it is, until it is to be healed.
func driftAlteredReported(s *stage) {
	s.bus.drift(api.DriftReport)
	uid, other := s.run("drift", limited), s.run("other", limited)
	s.restarted(uid, 0)
	s.restarted(other, 0)
	s.behind(uid, s.machine.Freeze)
	s.drifted(1)
	s.bound(other, 64<<20) // by when that is told, the frozen one was looked at again
	s.until("the drift is told", func() bool { return s.bus.told("Drift", api.PodRef("conformance", "other")) == 1 })
	if s.altered(uid) == "" || s.altered(other) == "" {
		s.Error("drift was healed that was only to be reported")
	}
	s.drifted(1)
	s.bus.drift(api.DriftHeal)
	s.unaltered(uid)
	s.unaltered(other)
	s.drifted(1)
	s.bus.drift(api.DriftReport)
	s.behind(uid, s.machine.Freeze)
	s.drop(uid) // it hears nothing, and has to be killed
	s.until("the frozen pod is gone", func() bool { _, found := s.bus.pod(uid); return !found })
}
