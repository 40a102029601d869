package conformance

import (
	"reflect"
	"strings"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

func postStart(s *stage) {
	uid := s.run("hook", `
restartPolicy: Never
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "sleep 1"]
  lifecycle: {postStart: {exec: {command: [/bin/sh, -c, "echo hooked > /dev/termination-log"]}}}`)
	if c := container(s.ends(uid, api.PodSucceeded), "run"); c.Message != "hooked\n" {
		s.Errorf("%+v", c)
	}
}

func postStartOrder(s *stage) {
	uid := s.run("hook", `
containers:
- name: one
  image: IMAGE
  command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]
  lifecycle: {postStart: {sleep: {seconds: 1}}}
- {name: two, image: IMAGE, command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}`)
	p := s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	s.inOrder("the hook was done", container(p, "one").Started.Add(time.Second), "two began", container(p, "two").Started)
}

func postStartFails(s *stage) {
	uid := s.run("hook", `
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]
  lifecycle: {postStart: {exec: {command: [/bin/sh, -c, "exit 1"]}}}`)
	s.comes(uid, "it is restarted", func(p api.PodStatus) bool { return container(p, "run").Restarts >= 2 && !p.Ready })
}

func preStop(s *stage) {
	uid := s.run("hook", `
restartPolicy: Never
activeDeadlineSeconds: 1
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap 'exit 3' TERM; sleep 100000 & wait"]
  lifecycle: {preStop: {exec: {command: [/bin/sh, -c, "echo bye > /dev/termination-log"]}}}`)
	if c := container(s.ends(uid, api.PodFailed), "run"); c.Message != "bye\n" || c.ExitCode != 3 {
		s.Errorf("%+v", c)
	}
}

func preStopLiveness(s *stage) {
	uid := s.run("hook", `
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap 'exit 3' TERM; sleep 100000 & wait"]
  livenessProbe: {exec: {command: [/bin/sh, -c, "exit 1"]}, periodSeconds: 1, failureThreshold: 1}
  lifecycle: {preStop: {exec: {command: [/bin/sh, -c, "echo bye > /dev/termination-log"]}}}`)
	p := s.comes(uid, "it is restarted", func(p api.PodStatus) bool { return container(p, "run").Restarts >= 1 })
	if last := container(p, "run").LastState; last == nil || last.Message != "bye\n" || last.ExitCode != 3 {
		s.Errorf("%+v", last)
	}
}

func liveness(s *stage) {
	uid := s.run("probe", `
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap '' TERM; sleep 100000"]
  livenessProbe: {exec: {command: [/bin/sh, -c, "exit 1"]}, periodSeconds: 1, failureThreshold: 2, terminationGracePeriodSeconds: 1}`)
	p := s.comes(uid, "it is restarted", func(p api.PodStatus) bool { return container(p, "run").Restarts >= 1 })
	last := container(p, "run").LastState
	if last == nil || last.ExitCode != 137 || !strings.Contains(last.Message, "liveness probe") {
		s.Errorf("%+v", last)
	}
}

func startup(s *stage) {
	uid := s.run("probe", `
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]
  startupProbe: {exec: {command: [/bin/sh, -c, "exit 1"]}, periodSeconds: 1, failureThreshold: 1}
  livenessProbe: {exec: {command: [/bin/sh, -c, "exit 1"]}, periodSeconds: 1, failureThreshold: 1}`)
	p := s.comes(uid, "it is restarted", func(p api.PodStatus) bool { return container(p, "run").Restarts >= 1 })
	if p.Ready || !p.ReadySince.IsZero() {
		s.Error("it was ready")
	}
}

func neverReady(s *stage) {
	uid := s.run("probe", `
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]
  readinessProbe: {exec: {command: [/bin/sh, -c, "echo not yet; exit 1"]}, periodSeconds: 1}`)
	p := s.comes(uid, "it says why it is not ready", func(p api.PodStatus) bool { return strings.Contains(p.Message, "not yet") })
	if c := container(p, "run"); p.Phase != api.PodRunning || p.Ready || c.Restarts != 0 || p.Reason != "ContainersNotReady" {
		s.Errorf("%+v", p)
	}
}

func activeDeadline(s *stage) {
	uid := s.run("deadline", `
restartPolicy: OnFailure
activeDeadlineSeconds: 1
terminationGracePeriodSeconds: 1
containers: [{name: run, image: IMAGE, command: [/bin/sh, -c, "trap '' TERM; sleep 100000"]}]`)
	p := s.ends(uid, api.PodFailed)
	if c := container(p, "run"); p.Reason != "DeadlineExceeded" || c.ExitCode != 137 || c.Restarts != 0 {
		s.Errorf("%+v", p)
	}
}

func adoption(s *stage) {
	done := s.run("done", `
restartPolicy: Never
containers: [{name: run, image: IMAGE, command: [/bin/sh, -c, "echo once > /dev/termination-log; exit 0"]}]`)
	runs := s.run("runs", `
initContainers: [{name: init, image: IMAGE, command: [/bin/sh, -c, "exit 0"]}]
containers:
- name: run
  image: IMAGE
  command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]
  lifecycle: {postStart: {exec: {command: [/bin/sh, -c, "echo hooked > /dev/termination-log"]}}}`)
	before := s.ends(done, api.PodSucceeded)
	ready := s.comes(runs, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	for range 2 {
		s.start()
		s.until("the new agent says how the pods are", func() bool {
			after, found := s.bus.pod(done)
			now, also := s.bus.pod(runs)
			return found && also && after.Phase == api.PodSucceeded && now.Ready && len(now.InitContainers) == 1
		})
	}
	after, _ := s.bus.pod(done)
	if a, b := container(before, "run"), container(after, "run"); !reflect.DeepEqual(a, b) {
		s.Errorf("how it ended changed from %+v to %+v", a, b)
	}
	now, _ := s.bus.pod(runs)
	for _, name := range []string{"init", "run"} {
		if a, b := container(ready, name), container(now, name); a.ID != b.ID || b.Restarts != 0 || a.Started != b.Started {
			s.Errorf("%s changed from %+v to %+v", name, a, b)
		}
	}
	// Its message would be twice as long if the hook had run twice, and is looked at when the pod has ended.
	if err := s.agent.Shutdown(s.Context()); err != nil {
		s.Fatal(err)
	}
	p := s.comes(runs, "it has ended", func(p api.PodStatus) bool { return container(p, "run").State == "terminated" })
	if c := container(p, "run"); c.Message != "hooked\n" {
		s.Errorf("%+v", c)
	}
	s.start()
}

func gracefulShutdown(s *stage) {
	const script = `command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]`
	low := s.run("low", `
containers: [{name: run, image: IMAGE, `+script+`, lifecycle: {preStop: {sleep: {seconds: 1}}}}]`)
	high := s.run("high", `
priorityClassName: system-cluster-critical
containers: [{name: run, image: IMAGE, `+script+`}]`)
	for _, uid := range []string{low, high} {
		s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	}
	if err := s.agent.Shutdown(s.Context()); err != nil {
		s.Fatal(err)
	}
	over := func(p api.PodStatus) bool { return container(p, "run").State == "terminated" }
	first, second := s.comes(low, "it has ended", over), s.comes(high, "it has ended", over)
	s.inOrder("low ended", container(first, "run").Finished, "high ended", container(second, "run").Finished)
	s.start()
	for _, uid := range []string{low, high} {
		p := s.comes(uid, "the pod runs again", func(p api.PodStatus) bool { return p.Ready })
		if c := container(p, "run"); c.Restarts != 1 {
			s.Errorf("%+v", c)
		}
	}
}

// boundedShutdown ends pods that would take far longer within the time that the machine has for each kind.
func boundedShutdown(s *stage) {
	stages, err := node.ShutdownStages(3*time.Second, time.Second)
	if err != nil {
		s.Fatal(err)
	}
	s.config.Shutdown = stages
	s.start()
	const deaf = `
terminationGracePeriodSeconds: 600
containers: [{name: run, image: IMAGE, command: [/bin/sh, -c, "trap '' TERM; sleep 100000 & wait"]}]`
	low, high := s.run("low", "priority: -7"+deaf), s.run("high", "priority: 1000"+deaf)
	critical := s.run("critical", "priority: 2000000000"+deaf)
	for _, uid := range []string{low, high, critical} {
		s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	}
	began := time.Now()
	if err := s.agent.Shutdown(s.Context()); err != nil {
		s.Fatal(err)
	}
	if took := time.Since(began); took < 3*time.Second || took > time.Minute {
		s.Errorf("it took %v", took)
	}
	over := func(p api.PodStatus) bool { return container(p, "run").State == "terminated" }
	last := container(s.comes(critical, "it has ended", over), "run").Finished
	for _, uid := range []string{low, high} {
		s.inOrder("the pod ended", container(s.comes(uid, "it has ended", over), "run").Finished, "the critical one ended", last)
	}
}
