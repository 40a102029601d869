package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
)

// shared is the containerd of this process's tests. Starting one takes as long as many of the tests, and the testing
// package has no other place for what they share.
var shared struct {
	sync.Mutex
	address string
	end     func() error
}

// Containerd returns the socket of a containerd, the same for all tests of the process. The package's TestMain must call
// Main, which ends it. It asks for root.
func Containerd(t testing.TB) string {
	t.Helper()
	RequireRoot(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.end == nil {
		address, end, err := StartContainerd(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		shared.address, shared.end = address, end
	}
	return shared.address
}

// Main runs the tests of a package and then ends the containerd that they started. It returns the exit code.
func Main(m *testing.M) int { return run(m.Run, os.Stderr) }

func run(tests func() int, stderr io.Writer) int {
	code := tests()
	if err := stopShared(); err != nil {
		fmt.Fprintln(stderr, "testenv:", err)
		return max(code, 1)
	}
	return code
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.end == nil {
		return nil
	}
	err := shared.end()
	shared.address, shared.end = "", nil
	if err != nil {
		return errors.Join(errors.New("clear away the tests' containerd"), err)
	}
	return nil
}

// RequireRoot skips a test that works with containers, namespaces or mounts when it does not run as root.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: run make test")
	}
}
