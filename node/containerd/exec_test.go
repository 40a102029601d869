package containerd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"headway.dev/headway/node"
)

// TestExecManyAtOnce is what probes do.
func TestExecManyAtOnce(t *testing.T) {
	h := newHost(t)
	id := h.run(h.config(sandbox(t, "pod"), "a"))
	files := openFiles(t)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			var out bytes.Buffer
			code, err := h.Exec(h.context(), id, []string{"sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i)}, node.Streams{Stdout: &out})
			if err != nil || code != i || out.String() != fmt.Sprintln(i) {
				t.Errorf("%d: exit code %d, output %q, error %v", i, code, &out, err)
			}
		})
	}
	all.Wait()
	h.noFIFOs()
	if now := openFiles(t); now > files+2 {
		t.Errorf("%d files were open before, %d are now", files, now)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func (h *host) noFIFOs() {
	h.t.Helper()
	if left, err := os.ReadDir(h.fifos); err != nil || len(left) > 0 {
		h.t.Errorf("in the directory of FIFOs: %v, %v", left, err)
	}
}

// TestExecCopiesAll sends more than a FIFO holds both ways.
func TestExecCopiesAll(t *testing.T) {
	h := newHost(t)
	id := h.run(h.config(sandbox(t, "pod"), "a"))
	input := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	for range 5 {
		var out, errs bytes.Buffer
		code, err := h.Exec(h.context(), id, []string{"tee", "/dev/stderr"}, node.Streams{Stdin: bytes.NewReader(input), Stdout: &out, Stderr: &errs})
		if err != nil || code != 0 {
			t.Fatal(code, err)
		}
		for name, got := range map[string]*bytes.Buffer{"stdout": &out, "stderr": &errs} {
			if sha256.Sum256(got.Bytes()) != sha256.Sum256(input) {
				t.Errorf("%s: %d bytes of %d came, or others", name, got.Len(), len(input))
			}
		}
	}
}

// TestExecIsKilled ends the context of a command that would not end.
func TestExecIsKilled(t *testing.T) {
	h := newHost(t)
	id := h.run(h.config(sandbox(t, "pod"), "a"))
	ctx, cancel := context.WithCancelCause(h.context())
	started, told := io.Pipe()
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, failed = h.Exec(ctx, id, []string{"sh", "-c", "trap '' TERM; echo begun; sleep 98765"}, node.Streams{Stdout: told})
	}()
	if _, err := started.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	because := errors.New("the person went away")
	cancel(because)
	<-done
	if !errors.Is(failed, because) {
		t.Errorf("it ended with %v", failed)
	}
	h.noFIFOs()
	var out bytes.Buffer
	if _, err := h.Exec(h.context(), id, []string{"ps"}, node.Streams{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "echo begun") {
		t.Errorf("the command still runs:\n%s", &out)
	}
}

// TestExecLeavesProcessBehind does not wait for what a command leaves in the background with its output.
func TestExecLeavesProcessBehind(t *testing.T) {
	h := newHost(t)
	id := h.run(h.config(sandbox(t, "pod"), "a"))
	var out bytes.Buffer
	begun := time.Now()
	code, err := h.Exec(h.context(), id, []string{"sh", "-c", "sleep 98765 & echo gone"}, node.Streams{Stdout: &out})
	if err != nil || code != 0 || out.String() != "gone\n" {
		t.Errorf("exit code %d, output %q, error %v", code, &out, err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	h.noFIFOs()
}

// TestExecWithoutInputEnds gives a command that reads an input that has none.
func TestExecWithoutInputEnds(t *testing.T) {
	h := newHost(t)
	id := h.run(h.config(sandbox(t, "pod"), "a"))
	for name, streams := range map[string]node.Streams{
		"none at all": {}, "only output": {Stdout: io.Discard}, "empty input": {Stdin: strings.NewReader("")},
	} {
		if code, err := h.Exec(h.context(), id, []string{"cat"}, streams); err != nil || code != 0 {
			t.Errorf("%s: exit code %d, error %v", name, code, err)
		}
	}
}
