package conformance

import (
	"context"
	"syscall"

	"headway.dev/headway/api"
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
