package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/node"
)

// TestSecondDaemon starts a daemon where one runs already. It says so, and has touched nothing by then: not the machine's
// containerd, where it would take what the first is just making for what a dead one has left.
func TestSecondDaemon(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	unlock, err := node.Lock(filepath.Join(dir, "node"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	socket := filepath.Join(dir, "containerd.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	go func() { // until the listener is closed
		defer close(asked)
		if conn, err := listener.Accept(); err == nil {
			t.Error("it has called containerd")
			conn.Close()
		}
	}()
	for _, cleanup := range []bool{false, true} {
		o := nodeOptions{
			name: "n1", dir: filepath.Join(dir, "node"), runDir: filepath.Join(dir, "run"), containerd: socket, containerdNamespace: "second",
			podCIDR: "10.244.0.0/24", clusterCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16", cleanup: cleanup,
		}
		if err := runNode(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another daemon works with "+o.dir) {
			t.Errorf("cleanup %v: %v", cleanup, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "run")); !os.IsNotExist(err) {
		t.Errorf("it has made the other's directory: %v", err)
	}
	listener.Close()
	<-asked
}
