package containerd

import (
	"testing"

	"headway.dev/headway/node"
	"headway.dev/headway/node/conformance"
)

func TestConformance(t *testing.T) {
	h := newHost(t)
	conformance.TestRuntime(t, func(*testing.T) conformance.Host {
		return conformance.Host{
			Runtime: h.Runtime,
			Reopen:  func(testing.TB) node.Runtime { return h.open(h.t, h.options) },
			Sandbox: sandbox,
			Image:   h.image,
		}
	})
}
