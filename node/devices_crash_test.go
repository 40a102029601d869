package node_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/fakehost"
)

// devicesOf gives the devices of a pod's container, as the status has them.
func (w *world) devicesOf(uid string) []string {
	for _, p := range w.bus.lastStatus().Pods {
		if p.Placement.UID == uid && len(p.Containers) == 1 {
			return p.Containers[0].Devices
		}
	}
	return nil
}

// withDevices stores templates of a container that has one device: one that runs on, and one that is restarted every second.
func (w *world) withDevices() {
	for name, script := range map[string]string{"steady": "trap '' TERM; sleep 1000000", "flaky": "sleep 1; exit 1"} {
		c := corev1.Container{Name: "web", Image: "web", Command: []string{"/bin/sh", "-c", script}}
		c.Resources.Limits = corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}
		w.template(name, api.PodTemplate{Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(2)), Containers: []corev1.Container{c},
		}}, nil)
	}
}

// startWithDevices has a new agent run, as start does, which knows of the machine's devices.
func (w *world) startWithDevices(counted map[string]int64) {
	w.Helper()
	w.startBy(func(c *node.Config) {
		c.Devices, c.Info.Extended = w.host.Devices(), counted
		c.Restart = node.Restart{First: time.Second, Most: time.Second}
	})
}

// TestDevicesOverCrashes kills the agent before and after each call that it makes to the machine, while pods that have
// devices come, crash and are replaced: no device has two containers, and what is restarted keeps its own.
func TestDevicesOverCrashes(t *testing.T) {
	for after := 0; ; after++ {
		done := false
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakehost.Options{})
				defer func() { w.stop() }()
				w.withDevices()
				w.host.SetDevices("nvidia.com/gpu", "0", "1")
				k := &killer{}
				k.arm(after)
				w.host.SetFault(k.fault)
				w.stopped = k.bury
				w.startWithDevices(nil)
				go func() {
					select {
					case <-k.died:
						w.stop()
						k.arm(1 << 30)
						w.startWithDevices(nil)
					case <-time.After(time.Minute):
						done = true
					}
				}()
				w.assign(1, 1, "c1", "a:steady", "b:flaky")
				pass(5 * time.Second)
				had := w.devicesOf("u-b")
				w.assign(1, 2, "c2", "b:flaky", "c:steady")
				pass(20 * time.Second)
				if got := w.devicesOf("u-b"); len(had) != 1 || !slices.Equal(got, had) {
					t.Errorf("b had %v, and then %v", had, got)
				}
				if got := w.devicesOf("u-c"); len(got) != 1 || slices.Equal(got, had) {
					t.Errorf("c has %v beside b's %v", got, had)
				}
				w.assign(1, 3, "c3", "c:steady")
				pass(2 * time.Minute)
				if got, want := w.host.String(), "container u-c.web.0 running\nsandbox u-c\n"; got != want {
					t.Errorf("the machine holds:\n%swant:\n%s", got, want)
				}
				if t.Failed() {
					t.Logf("killed %s", k.at)
				}
			})
		})
		if t.Failed() || done {
			t.Logf("%d calls were cut off", after)
			return
		}
	}
}

// TestNodeSaysWhatItHas has devices come and go while the agent runs: each change goes out, and numbers stay numbers.
func TestNodeSaysWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehost.Options{})
		defer func() { w.stop() }()
		w.host.SetDevices("nvidia.com/gpu", "0", "1")
		w.host.SetDevices("example.com/licence", "a", "b")
		w.startWithDevices(map[string]int64{"example.com/licence": 4})
		pass(time.Second)
		w.host.SetDevices("nvidia.com/gpu", "1", "0") // no news
		pass(time.Second)
		w.host.SetDevices("nvidia.com/gpu", "1")
		pass(time.Second)
		w.host.SetDevices("nvidia.com/gpu")
		pass(time.Second)
		var said []map[string]int64
		for _, info := range w.bus.joined {
			said = append(said, info.Extended)
		}
		want := []map[string]int64{
			{"example.com/licence": 4, "nvidia.com/gpu": 2}, {"example.com/licence": 4, "nvidia.com/gpu": 1}, {"example.com/licence": 4},
		}
		if !reflect.DeepEqual(said, want) {
			t.Errorf("it said %v, want %v", said, want)
		}
	})
}
