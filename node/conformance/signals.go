package conformance

import (
	"syscall"

	"headway.dev/headway/node"
)

func testSignal(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	polite, rude := s.shell(sandbox, "polite", obedient), s.shell(sandbox, "rude", stubborn)
	politeID, rudeID := s.run(polite), s.run(rude)
	s.logged(polite, "ready")
	s.logged(rude, "ready")
	for _, id := range []string{politeID, rudeID} {
		if err := s.Runtime.Signal(s.context(), id, syscall.SIGTERM); err != nil {
			s.Fatal(err)
		}
	}
	if c := s.exited(politeID); c.ExitCode != 7 {
		s.Errorf("told to end, it ended with %d, want 7", c.ExitCode)
	}
	if c, _ := s.find(rudeID); c.State != node.ContainerRunning {
		s.Errorf("one that ignores SIGTERM: %+v", c)
	}
	if err := s.Runtime.Signal(s.context(), rudeID, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	if c := s.exited(rudeID); c.ExitCode != 137 {
		s.Errorf("killed, it ended with %d, want 137", c.ExitCode)
	}
	if err := s.Runtime.Signal(s.context(), rudeID, syscall.SIGTERM); err != nil {
		s.Errorf("signal to one that has ended: %v", err)
	}
	if err := s.Runtime.Signal(s.context(), "no-such-container", syscall.SIGTERM); err != nil {
		s.Errorf("signal to one that is gone: %v", err)
	}
}

// testStop asks containers to end whose images name a signal for that, or none that there is.
func testStop(s *suite) {
	sandbox := s.Sandbox(s, s.uid)
	for name, c := range map[string]struct {
		image string
		code  int
	}{
		"none": {s.Image, 7}, "own": {s.StopsBy(s, "SIGUSR1"), 8}, "unknown": {s.StopsBy(s, "SIGNONSENSE"), 7},
	} {
		config := s.shell(sandbox, name, "trap 'exit 7' TERM; trap 'exit 8' USR1; echo ready; sleep 100000 & wait")
		config.Container.Image = c.image
		id := s.run(config)
		s.logged(config, "ready")
		// The next daemon knows it too.
		runtime := s.Reopen(s)
		if err := runtime.Stop(s.context(), id); err != nil {
			s.Fatal(err)
		}
		if ended := s.exited(id); ended.ExitCode != c.code {
			s.Errorf("%s: told to end, it ended with %d, want %d", name, ended.ExitCode, c.code)
		}
		if err := runtime.Stop(s.context(), id); err != nil {
			s.Errorf("%s: stop of one that has ended: %v", name, err)
		}
	}
	if err := s.Runtime.Stop(s.context(), "no-such-container"); err != nil {
		s.Errorf("stop of one that is gone: %v", err)
	}
}
