package fakehost_test

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/conformance"
	"headway.dev/headway/node/fakehost"
	"headway.dev/headway/node/logfile"
)

func TestRuntime(t *testing.T) {
	conformance.TestRuntime(t, func(*testing.T) conformance.Host {
		h := fakehost.New(fakehost.Options{Latency: map[string]time.Duration{"Create": 10 * time.Millisecond}})
		return conformance.Host{
			Runtime: h.Runtime(),
			Reopen:  func(testing.TB) node.Runtime { return h.Runtime() },
			Sandbox: func(t testing.TB, uid string) node.Sandbox {
				s, err := h.Network().Attach(t.Context(), uid, uid)
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Image: "busybox",
			StopsBy: func(_ testing.TB, signal string) string {
				if signal == "SIGUSR1" {
					h.SetStopSignal("stops", syscall.SIGUSR1)
					return "stops"
				}
				return "busybox"
			},
		}
	})
}

// TestPods plays the cases in a time of their own.
func TestPods(t *testing.T) {
	for _, c := range slices.Concat(conformance.PodCases(), conformance.ImageCases(), conformance.ImageGCCases()) {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := fakehost.New(fakehost.Options{Latency: map[string]time.Duration{"Create": 10 * time.Millisecond}})
				devices := func(_ testing.TB, names ...string) { h.SetDevices(conformance.Widget, names...) }
				c.Test(t, conformance.Machine{Image: "busybox", SetDevices: devices, AddImage: h.AddImage, DropImage: h.DropImage, Freeze: h.Freeze, Limit: h.Limit, Config: node.Config{
					Devices: h.Devices(),
					Runtime: h.Runtime(), Network: h.Network(), Router: h.Router(), Images: h.Images(),
					Prober: h.Prober(), Volumes: h.Volumes(), Logs: logfile.New(),
				}})
			})
		})
	}
}

// TestNetworkPolicies plays the cases about what packets pass.
func TestNetworkPolicies(t *testing.T) {
	for _, c := range conformance.NetworkPolicyCases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := fakehost.New(fakehost.Options{})
				c.Test(t, conformance.Machine{
					Image: "busybox",
					Reaches: func(_ testing.TB, from, to api.PodStatus, port uint16) bool {
						return h.Reaches(netip.MustParseAddr(from.IP), netip.MustParseAddr(to.IP), port)
					},
					Config: node.Config{
						Runtime: h.Runtime(), Network: h.Network(), Router: h.Router(), Images: h.Images(),
						Prober: h.Prober(), Volumes: h.Volumes(), Logs: logfile.New(),
					},
				})
			})
		})
	}
}

func TestString(t *testing.T) {
	h := fakehost.New(fakehost.Options{})
	s, err := h.Network().Attach(t.Context(), "u", "u")
	if err != nil {
		t.Fatal(err)
	}
	config := node.ContainerConfig{Sandbox: s}
	config.Pod.UID, config.Container.Name = "u", "web"
	config.Container.Command = []string{"/bin/sh", "-c", "exit 3"}
	runtime := h.Runtime()
	id, err := runtime.Create(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	const want = "container u.web.0 exited 3\nsandbox u\n"
	if got := h.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if calls := h.Calls(); !strings.HasSuffix(calls[len(calls)-1].String(), "Start u.web.0") {
		t.Errorf("the last call is %s", calls[len(calls)-1])
	}
}
