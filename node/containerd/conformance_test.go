package containerd

import (
	"path/filepath"
	"testing"

	"headway.dev/headway/node"
	"headway.dev/headway/node/conformance"
	"headway.dev/headway/node/volume"
)

func TestConformance(t *testing.T) { conformance.TestRuntime(t, conformant(newHost(t), nil)) }

func TestSecurityConformance(t *testing.T) { conformance.TestSecurity(t, conformant(newHost(t), nil)) }

func TestFilesConformance(t *testing.T) {
	h := newHost(t)
	memory := filepath.Join(t.TempDir(), "memory")
	if err := volume.MountMemory(memory); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := volume.UnmountMemory(memory); err != nil {
			t.Error(err)
		}
	})
	volumes, err := volume.Open(filepath.Join(t.TempDir(), "volumes"), memory)
	if err != nil {
		t.Fatal(err)
	}
	conformance.TestFiles(t, conformant(h, volumes))
}

func conformant(h *host, volumes node.Volumes) func(*testing.T) conformance.Host {
	return func(*testing.T) conformance.Host {
		return conformance.Host{
			Runtime: h.Runtime,
			Reopen:  func(testing.TB) node.Runtime { return h.open(h.t, h.options) },
			Sandbox: sandbox,
			Image:   h.image,
			Volumes: volumes,
		}
	}
}
