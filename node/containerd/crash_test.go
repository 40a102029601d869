package containerd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"headway.dev/headway/node"
)

// crashVariable has the test binary make a container, to be killed while it does.
const crashVariable = "HEADWAY_TEST_CRASH"

// A crashOrder is what the process that is killed has to do.
type crashOrder struct {
	Address, Namespace, CgroupRoot string
	Config                         node.ContainerConfig
}

func TestCrashProcess(t *testing.T) {
	order := os.Getenv(crashVariable)
	if order == "" {
		t.Skip("is run by TestCrash")
	}
	var o crashOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), Options{Address: o.Address, Namespace: o.Namespace, CgroupRoot: o.CgroupRoot})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// The runtime is open: from here on the time is counted.
	fmt.Fprintln(os.Stdout, "begun")
	id, err := r.Create(t.Context(), o.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	<-t.Context().Done()
}

// TestCrash kills a daemon at many points while it makes a container, and has another one go on: the container runs, and
// neither shims nor snapshots are left over.
func TestCrash(t *testing.T) {
	h := newHost(t)
	for ms := 0; ms < 90; ms += 11 {
		config := h.config(sandbox(t, fmt.Sprintf("pod-%d", ms)), "a")
		h.crash(config, time.Duration(ms)*time.Millisecond)
		next := h.open(t, h.options)
		end := keepSweeping(next)
		id, err := next.Create(h.context(), config)
		if err != nil {
			t.Fatalf("killed after %d ms: %v", ms, err)
		}
		if err := next.Start(h.context(), id); err != nil {
			t.Fatalf("killed after %d ms: %v", ms, err)
		}
		h.works(id)
		h.until(fmt.Sprintf("killed after %d ms, there is one shim", ms), func() bool { return len(h.shims()) == 1 })
		if err := next.Remove(h.context(), id); err != nil {
			t.Fatalf("killed after %d ms: %v", ms, err)
		}
		h.until(fmt.Sprintf("killed after %d ms, the shim ends", ms), func() bool { return len(h.shims()) == 0 })
		end()
	}
	if left := h.activeSnapshots(); left != 0 {
		t.Errorf("%d snapshots are left", left)
	}
}

// crash has another process make a container and kills it after a time.
func (h *host) crash(config node.ContainerConfig, after time.Duration) {
	h.t.Helper()
	order, err := json.Marshal(crashOrder{h.options.Address, h.options.Namespace, h.options.CgroupRoot, config})
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashProcess$", "-test.v")
	cmd.Env = append(os.Environ(), crashVariable+"="+string(order), "HEADWAY_CONTAINERD="+h.options.Address)
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	var said string
	for said != "begun" {
		if _, err := fmt.Fscanln(out, &said); err != nil && err.Error() != "expected newline" {
			h.t.Fatalf("it ended before it began: %v", err)
		}
	}
	timer := time.NewTimer(after)
	<-timer.C
	if err := cmd.Process.Kill(); err != nil {
		h.t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}
