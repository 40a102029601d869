package containerd

import (
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"headway.dev/headway/node"
	"headway.dev/headway/node/conformance"
	"headway.dev/headway/node/logfile"
	"headway.dev/headway/node/volume"
)

func TestConformance(t *testing.T) { conformance.TestRuntime(t, conformant(newHost(t), nil)) }

func TestSecurityConformance(t *testing.T) { conformance.TestSecurity(t, conformant(newHost(t), nil)) }

func TestFilesConformance(t *testing.T) {
	h := newHost(t)
	conformance.TestFiles(t, conformant(h, newVolumes(t)))
}

// TestPodSurroundings plays the cases about what pods are given, with real volumes.
func TestPodSurroundings(t *testing.T) {
	h := newHost(t, func(o *Options) { o.SealedDir = inMemory(t) })
	volumes := newVolumes(t)
	for _, c := range conformance.SurroundingsCases() {
		t.Run(c.Name, func(t *testing.T) {
			c.Test(t, conformance.Machine{Image: h.image, Config: node.Config{
				Runtime: h.Runtime, Images: h.Runtime, Logs: logfile.New(), Volumes: volumes,
				Network: &pinned{t: t, sandboxes: map[string]node.Sandbox{}}, Router: noRouter{}, Prober: noProber{},
			}})
		})
	}
}

// newVolumes makes volumes in directories of the test.
func newVolumes(t *testing.T) *volume.Volumes {
	t.Helper()
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
	return volumes
}

func conformant(h *host, volumes node.Volumes) func(*testing.T) conformance.Host {
	return func(*testing.T) conformance.Host {
		return conformance.Host{
			Runtime: h.Runtime,
			Reopen:  func(testing.TB) node.Runtime { return h.open(h.t, h.options) },
			Sandbox: sandbox,
			Image:   h.image,
			StopsBy: func(t testing.TB, signal string) string { return h.addImage(t, v1.Config{StopSignal: signal}) },
			Volumes: volumes,
		}
	}
}
