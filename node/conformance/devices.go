package conformance

import (
	"slices"

	"headway.dev/headway/api"
)

// Widget is the extended resource that the cases ask for.
const Widget = "conformance.test/widget"

// running waits until a container of a pod runs with these devices.
func (s *stage) running(uid, name string, restarts int, devices ...string) api.ContainerStatus {
	s.Helper()
	p := s.comes(uid, name+" runs", func(p api.PodStatus) bool {
		c := container(p, name)
		return c.State == "running" && c.Restarts >= restarts
	})
	c := container(p, name)
	var want []string
	for _, d := range devices {
		want = append(want, Widget+"="+d)
	}
	if !slices.Equal(c.Devices, want) {
		s.Errorf("%s has %v, want %v", name, c.Devices, want)
	}
	return c
}

// lacks waits until a container waits for a device, with this message.
func (s *stage) lacks(uid, message string) {
	s.Helper()
	p := s.comes(uid, "it waits for a device", func(p api.PodStatus) bool { return container(p, "run").Reason == "DeviceUnavailable" })
	if c := container(p, "run"); c.State != "waiting" || c.Message != message || p.Reason != c.Reason {
		s.Errorf("the pod says %s: %s, and the container is %s: %q, want %q", p.Reason, p.Message, c.State, c.Message, message)
	}
}

// drop takes a pod out of the assignment.
func (s *stage) drop(uid string) {
	s.pods = slices.DeleteFunc(slices.Clone(s.pods), func(p api.Placement) bool { return p.UID == uid })
	s.bus.assign(s.pods)
}

const (
	asksOne = `
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "sleep 1000000"], resources: {limits: {conformance.test/widget: 1}}}`
	asksNone = `
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "sleep 1000000"]}`
	returns = `
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "sleep 0.3; exit 1"], resources: {limits: {conformance.test/widget: 1}}}`
)

// devicesGiven has more pods than devices, restarts of containers and of the daemon.
func devicesGiven(s *stage) {
	s.machine.SetDevices(s, "0", "1", "2")
	first := s.run("first", `
initContainers:
- {name: init, image: IMAGE, command: [/bin/sh, -c, "exit 0"], resources: {limits: {conformance.test/widget: 1}}}
containers:
- {name: run, image: IMAGE, command: [/bin/sh, -c, "sleep 1000000"], resources: {limits: {conformance.test/widget: 1}}}
- {name: other, image: IMAGE, command: [/bin/sh, -c, "sleep 1000000"], resources: {limits: {conformance.test/widget: 1}}}`)
	before := s.running(first, "run", 0, "0")
	s.running(first, "other", 0, "1")
	again := s.run("again", returns)
	s.running(again, "run", 1, "2")
	late := s.run("late", asksOne)
	const none = Widget + ": 1 asked for, and of the machine's 3 only 0 are free"
	s.lacks(late, none)

	s.start()
	s.lacks(late, none)
	if after := s.running(first, "run", 0, "0"); after.ID != before.ID {
		s.Errorf("a restart of the daemon made of %+v %+v", before, after)
	}
	s.running(again, "run", 2, "2")
	s.drop(first)
	s.running(late, "run", 0, "0")
	p, _ := s.bus.pod(again)
	if c := container(p, "run"); !slices.Equal(c.Devices, []string{Widget + "=2"}) {
		s.Errorf("in the end again has %v", c.Devices)
	}
}

// devicesVanish takes a device away from a container, and gives it back.
func devicesVanish(s *stage) {
	s.machine.SetDevices(s, "0")
	uid := s.run("loses", returns)
	s.running(uid, "run", 1, "0")
	s.machine.SetDevices(s)
	s.lacks(uid, Widget+"=0: this machine has no such device any more, and the container goes on only with what it began with: bring it back, or delete the pod")
	plain := s.run("plain", asksNone)
	lost, _ := s.bus.pod(uid)
	s.running(plain, "run", 0)
	s.machine.SetDevices(s, "0", "1")
	s.running(uid, "run", container(lost, "run").Restarts+1, "0")
}
