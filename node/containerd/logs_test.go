package containerd

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"headway.dev/headway/node"
)

// TestLogWithHole gives back the head of a log that is written on, as trimming does: the shim appends, wherever the file
// has holes, and both streams append to the same end.
func TestLogWithHole(t *testing.T) {
	h := newHost(t)
	config := h.script(sandbox(t, "pod"), "a",
		"i=0; while [ $i -lt 2000 ]; do echo out-$i; echo err-$i >&2; i=$((i+1)); done; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo out-last; echo err-last >&2")
	id := h.run(config)
	read := func() string {
		data, err := os.ReadFile(config.LogPath)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	h.until("much is logged", func() bool { return strings.Contains(read(), "err-1999\n") && strings.Contains(read(), "out-1999\n") })
	before := read()

	const hole = 8192
	f, err := os.OpenFile(config.LogPath, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, hole); err != nil {
		t.Fatal(err)
	}
	if code, err := h.Exec(h.context(), id, []string{"touch", "/tmp/go"}, node.Streams{}); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	h.exited(id)
	h.until("the rest is logged", func() bool { return strings.Contains(read(), "out-last\n") && strings.Contains(read(), "err-last\n") })
	after := read()
	if want := string(bytes.Repeat([]byte{0}, hole)) + before[hole:]; !strings.HasPrefix(after, want) || len(after) != len(before)+len("out-last\nerr-last\n") {
		t.Errorf("the log has %d bytes, before it had %d; or what is after the hole has changed", len(after), len(before))
	}
	for _, stream := range []string{"out-", "err-"} {
		if n := strings.Count(before, stream); n != 2000 {
			t.Errorf("%d lines of %q, want 2000", n, stream)
		}
	}
}

// TestLogInOddPlace has a path that means something else in a URL.
func TestLogInOddPlace(t *testing.T) {
	h := newHost(t)
	config := h.script(sandbox(t, "pod"), "a", "echo here")
	config.LogPath = h.dir + "/new directory/100%25?#.log"
	if got := h.output(config); got != "here\n" {
		t.Errorf("the log holds %q", got)
	}
}
