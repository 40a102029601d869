package conformance

import (
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
)

// PodCases are what is asked of an agent on any machine.
func PodCases() []PodCase {
	var cases []PodCase
	for _, c := range []struct {
		name string
		test func(*stage)
	}{
		{"InitContainer should invoke init containers on a RestartNever pod", initNever},
		{"InitContainer should not start app containers and fail the pod if init containers fail on a RestartNever pod", initFails},
		{"InitContainer should not start app containers if init containers fail on a RestartAlways pod", initRetries},
		{"SidecarContainers should start in order and terminate in reverse order after all main containers have exited", sidecarOrder},
		{"SidecarContainers should be restarted while the main containers run", sidecarRestarts},
		{"SidecarContainers should wait for the startup probe of a sidecar", sidecarStartup},
		{"Lifecycle Hook should execute poststart exec hook properly", postStart},
		{"Lifecycle Hook should not launch second container before PostStart of the first container completed", postStartOrder},
		{"Lifecycle Hook should restart a container whose PostStart fails", postStartFails},
		{"Lifecycle Hook should execute prestop exec hook properly", preStop},
		{"Lifecycle Hook should call the container's preStop hook and terminate it if its liveness probe fails", preStopLiveness},
		{"Probing container should be restarted with an exec liveness probe", liveness},
		{"Probing container should be restarted startup probe fails", startup},
		{"Probing container with readiness probe that fails should never be ready and never restart", neverReady},
		{"Container Runtime should run with the expected status", expectedStatus},
		{"Container Runtime should report termination message", terminationMessages},
		{"Container Runtime should report what cannot be started", cannotStart},
		{"Container Runtime should report OOMKilled", oomKilled},
		{"Container Restart Rules should restart a container by its own rules", restartRules},
		{"Pods should be terminated past their activeDeadlineSeconds", activeDeadline},
		{"Restart should neither run again what has ended nor repeat hooks that are done", adoption},
		{"Device Manager should give no device twice and keep those of a container over restarts", devicesGiven},
		{"Device Manager should hold back a container whose device vanished", devicesVanish},
		{"GracefulNodeShutdown should gracefully shutdown pods by priority", gracefulShutdown},
		{"GracefulNodeShutdown should gracefully shutdown pods with various grace periods", boundedShutdown},
		{"Drift should be healed and told", driftHealed},
		{"Drift of a container that runs should be healed and told", driftAltered},
		{"Drift of a container that runs should be left and told where it is only to be reported", driftAlteredReported},
		{"Drift should be left and told where it is only to be reported", driftReported},
		{"MemoryAllocatableEviction should evict pods by use over request and priority", memoryEviction},
		{"Container Logs should tell when lines were written", logTimes},
		{"LocalStorageEviction should evict what has written to the disk", diskEviction},
	} {
		cases = append(cases, PodCase{Name: c.name, Test: func(t testing.TB, m Machine) { c.test(newStage(t, m)) }})
	}
	return cases
}

func initNever(s *stage) {
	uid := s.run("init", `
restartPolicy: Never
initContainers:
- {name: one, image: IMAGE, command: [/bin/sh, -c, "sleep 0.2"]}
- {name: two, image: IMAGE, command: [/bin/sh, -c, "sleep 0.2"]}
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "exit 0"]}`)
	p := s.ends(uid, api.PodSucceeded)
	one, two, run := container(p, "one"), container(p, "two"), container(p, "run")
	s.inOrder("one ended", one.Finished, "two began", two.Started)
	s.inOrder("two ended", two.Finished, "run began", run.Started)
	for _, c := range p.Conditions {
		if c.Type == "Initialized" && !c.True {
			s.Errorf("it is not initialized: %+v", c)
		}
	}
}

func initFails(s *stage) {
	uid := s.run("init", `
restartPolicy: Never
initContainers:
- {name: one, image: IMAGE, command: [/bin/sh, -c, "exit 1"]}
- {name: two, image: IMAGE, command: [/bin/sh, -c, "exit 0"]}
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "exit 0"]}`)
	p := s.ends(uid, api.PodFailed)
	if one := container(p, "one"); one.ExitCode != 1 || one.State != "terminated" {
		s.Errorf("one: %+v", one)
	}
	if two, run := container(p, "two"), container(p, "run"); !two.Started.IsZero() || !run.Started.IsZero() {
		s.Errorf("two: %+v, run: %+v", two, run)
	}
}

func initRetries(s *stage) {
	uid := s.run("init", `
initContainers:
- {name: one, image: IMAGE, command: [/bin/sh, -c, "exit 1"]}
containers:
- {name: run, image: IMAGE}`)
	p := s.comes(uid, "the init container is restarted", func(p api.PodStatus) bool { return container(p, "one").Restarts >= 3 })
	if run := container(p, "run"); p.Phase != api.PodPending || run.State != "waiting" || run.Reason != "PodInitializing" {
		s.Errorf("%s, %+v", p.Phase, run)
	}
}

func sidecarOrder(s *stage) {
	uid := s.run("sidecar", `
restartPolicy: Never
initContainers:
- {name: first, image: IMAGE, restartPolicy: Always, command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}
- {name: init, image: IMAGE, command: [/bin/sh, -c, "exit 0"]}
- {name: second, image: IMAGE, restartPolicy: Always, command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "sleep 1"]}`)
	p := s.ends(uid, api.PodSucceeded)
	first, second, run := container(p, "first"), container(p, "second"), container(p, "run")
	s.inOrder("first began", first.Started, "init began", container(p, "init").Started)
	s.inOrder("init ended", container(p, "init").Finished, "second began", second.Started)
	s.inOrder("second began", second.Started, "run began", run.Started)
	s.inOrder("run ended", run.Finished, "second ended", second.Finished)
	s.inOrder("second ended", second.Finished, "first ended", first.Finished)
}

func sidecarRestarts(s *stage) {
	uid := s.run("sidecar", `
initContainers:
- {name: side, image: IMAGE, restartPolicy: Always, command: [/bin/sh, -c, "sleep 0.3"]}
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}`)
	p := s.comes(uid, "the sidecar is restarted", func(p api.PodStatus) bool { return container(p, "side").Restarts >= 2 })
	if run := container(p, "run"); run.Restarts != 0 || p.Phase != api.PodRunning {
		s.Errorf("%s, %+v", p.Phase, run)
	}
}

func sidecarStartup(s *stage) {
	uid := s.run("sidecar", `
initContainers:
- name: side
  image: IMAGE
  restartPolicy: Always
  command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]
  startupProbe: {exec: {command: [sleep, "0.5"]}}
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}`)
	p := s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	s.inOrder("the sidecar was seen to have begun", container(p, "side").Started.Add(500*time.Millisecond), "run began", container(p, "run").Started)
}

// expectedStatus crosses exit codes with restart policies.
func expectedStatus(s *stage) {
	for _, c := range []struct {
		policy, script string
		phase          api.PodPhase
		restarted      bool
	}{
		{"Always", "exit 1", api.PodRunning, true},
		{"Always", "exit 0", api.PodRunning, true},
		{"OnFailure", "exit 1", api.PodRunning, true},
		{"OnFailure", "exit 0", api.PodSucceeded, false},
		{"Never", "exit 1", api.PodFailed, false},
		{"Never", "exit 0", api.PodSucceeded, false},
	} {
		uid := s.run(strings.ToLower(c.policy)+c.script[5:], `
restartPolicy: `+c.policy+`
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "`+c.script+`"]}`)
		s.comes(uid, c.policy+" after "+c.script, func(p api.PodStatus) bool {
			return p.Phase == c.phase && container(p, "run").Restarts > 1 == c.restarted
		})
	}
}

func terminationMessages(s *stage) {
	uid := s.run("messages", `
restartPolicy: Never
containers:
- {name: file, image: IMAGE, command: [/bin/sh, -c, "echo from the file > /dev/termination-log; exit 0"]}
- {name: path, image: IMAGE, terminationMessagePath: /tmp/message, command: [/bin/sh, -c, "echo from a path > /tmp/message; exit 1"]}
- {name: user, image: IMAGE, securityContext: {runAsUser: 1000}, command: [/bin/sh, -c, "echo from a user > /dev/termination-log; exit 0"]}
- {name: log, image: IMAGE, terminationMessagePolicy: FallbackToLogsOnError, command: [/bin/sh, -c, "echo from the log; exit 1"]}
- {name: none, image: IMAGE, terminationMessagePolicy: FallbackToLogsOnError, command: [/bin/sh, -c, "echo from the log; exit 0"]}`)
	p := s.ends(uid, api.PodFailed)
	for name, want := range map[string]string{
		"file": "from the file\n", "path": "from a path\n", "user": "from a user\n", "log": "from the log\n", "none": "",
	} {
		if got := container(p, name).Message; got != want {
			s.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func cannotStart(s *stage) {
	never := s.run("never", `
restartPolicy: Never
containers: [{name: run, image: IMAGE, command: [/no/such/command]}]`)
	again := s.run("again", `
containers: [{name: run, image: IMAGE, command: [/no/such/command]}]`)
	c := container(s.ends(never, api.PodFailed), "run")
	if c.ExitCode != 128 || c.Reason != "StartError" || !strings.Contains(c.Message, "/no/such/command") {
		s.Errorf("%+v", c)
	}
	s.comes(again, "it is tried again", func(p api.PodStatus) bool {
		c := container(p, "run")
		return c.Restarts >= 2 && c.Reason == "RunContainerError" && c.LastState != nil && c.LastState.ExitCode == 128
	})
}

func oomKilled(s *stage) {
	uid := s.run("memory", `
restartPolicy: Never
containers:
- {name: run, image: IMAGE, command: [dd, if=/dev/zero, of=/dev/null, bs=64M, count=1], resources: {limits: {memory: 24Mi}}}`)
	if c := container(s.ends(uid, api.PodFailed), "run"); c.Reason != "OOMKilled" || c.ExitCode != 137 {
		s.Errorf("%+v", c)
	}
}

func restartRules(s *stage) {
	uid := s.run("rules", `
restartPolicy: Never
containers:
- name: again
  image: IMAGE
  command: [/bin/sh, -c, "exit 42"]
  restartPolicy: Never
  restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
- name: over
  image: IMAGE
  command: [/bin/sh, -c, "exit 41"]
  restartPolicy: Never
  restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]`)
	s.comes(uid, "only one container is restarted", func(p api.PodStatus) bool {
		over := container(p, "over")
		return p.Phase == api.PodRunning && container(p, "again").Restarts >= 2 && over.State == "terminated" && over.Restarts == 0
	})
}
