package containerd

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// TestExecOnTerminal asks a terminal for its kind and size, and types on it.
func TestExecOnTerminal(t *testing.T) {
	h := newHost(t)
	id := h.run(h.config(sandbox(t, "pod"), "a"))
	sizes := make(chan api.TerminalSize, 1)
	sizes <- api.TerminalSize{Columns: 101, Rows: 37}
	stdin, typed := io.Pipe()
	defer typed.Close()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() {
		// The command waits for a line, and with that for the size to be there.
		script := `until stty size | grep -q "37 101"; do sleep 0.05; done; echo "kind $TERM"; tty; read line; echo "got $line"; exit 5`
		code, err := h.Exec(h.context(), id, []string{"sh", "-c", script}, node.Streams{Stdin: stdin, Stdout: &out, TTY: true, Resize: sizes})
		if err == nil && code != 5 {
			err = fmt.Errorf("exit code %d", code)
		}
		done <- err
	}()
	if _, err := io.WriteString(typed, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("%v; it wrote %q", err, &out)
	}
	for _, want := range []string{"kind xterm\r\n", "/dev/pts/", "got hello\r\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it wrote %q, which lacks %q", &out, want)
		}
	}
	h.noFIFOs()
}

// listen serves on the loopback of a pod, which its address does not reach: it says what it was told once that has ended.
func listen(t *testing.T, s node.Sandbox, address string) {
	t.Helper()
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and not given back: the thread ends with the goroutine
		l, err := func() (net.Listener, error) {
			ns, err := os.Open(s.NetNS)
			if err != nil {
				return nil, err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
				return nil, fmt.Errorf("%w: %s", err, out)
			}
			return net.Listen("tcp", address)
		}()
		done <- result{l, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := r.l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				said, _ := io.ReadAll(conn)
				fmt.Fprintf(conn, "said %s", said)
			})
		}
	})
	t.Cleanup(func() {
		_ = r.l.Close()
		serving.Wait()
	})
}

// TestDial makes connections from inside of a pod, and ends one half of each.
func TestDial(t *testing.T) {
	h := newHost(t)
	s := sandbox(t, "pod")
	listen(t, s, "127.0.0.1:7070")
	listen(t, s, "[::1]:7072")
	id := h.run(h.config(s, "a"))
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			conn, err := h.Dial(h.context(), id, []uint16{7070, 7072}[i%2])
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, i)
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(conn); err != nil || string(got) != fmt.Sprintf("said %d", i) {
				t.Errorf("%d: %q, %v", i, got, err)
			}
		})
	}
	all.Wait()
	if _, err := h.Dial(h.context(), id, 7071); err == nil || !strings.Contains(err.Error(), "port 7071") {
		t.Errorf("a port that nobody listens on: %v", err)
	}
	if _, err := h.Dial(h.context(), "none", 7070); !errors.Is(err, errNotRunning) {
		t.Errorf("a container that is not there: %v", err)
	}
}

// TestCopyFiles copies a directory out of a container and into another, whose root directory can only be read.
func TestCopyFiles(t *testing.T) {
	h := newHost(t)
	a := h.run(h.script(sandbox(t, "a"), "a", `mkdir -p /data/sub; echo text >/data/sub/file; chmod 640 /data/sub/file; ln -s sub/file /data/link; ln -s / /data/all; touch /data/ready; sleep 100000`))
	h.until("the files are there", func() bool {
		code, err := h.Exec(h.context(), a, []string{"test", "-e", "/data/ready"}, node.Streams{})
		return err == nil && code == 0
	})
	var archive bytes.Buffer
	err := h.ReadFiles(h.context(), a, "/data", &archive, func(why string) { t.Error(why) })
	if err != nil {
		t.Fatal(err)
	}
	config := h.config(sandbox(t, "b"), "b")
	config.Container.SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: new(true)}
	scratch := t.TempDir()
	if err := os.Chmod(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	config.Mounts = []node.Mount{{Source: scratch, Target: "/scratch"}}
	b := h.run(config)
	if err := h.WriteFiles(h.context(), b, "/", bytes.NewReader(archive.Bytes())); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("written to what can only be read: %v", err)
	}
	if err := h.WriteFiles(h.context(), b, "/scratch", bytes.NewReader(archive.Bytes())); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	script := `cd /scratch/data; cat link; stat -c %a:%u sub/file; readlink all`
	if code, err := h.Exec(h.context(), b, []string{"sh", "-c", script}, node.Streams{Stdout: &out, Stderr: &out}); err != nil || code != 0 || out.String() != "text\n640:0\n/\n" {
		t.Errorf("%d %v: %q", code, err, &out)
	}
	// A path through a link of the container's stays within it.
	if err := h.WriteFiles(h.context(), a, "/data/all/etc", oneFile(t, "marker", "here")); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if _, err := h.Exec(h.context(), a, []string{"cat", "/etc/marker"}, node.Streams{Stdout: &out}); err != nil || out.String() != "here" {
		t.Errorf("%v: %q", err, &out)
	}
	if _, err := os.Stat("/etc/marker"); err == nil {
		t.Error("the file is on the machine")
	}
	for _, path := range []string{"/proc/1/root/etc", "/proc/self/cwd", "/proc/sys/kernel", "/sys/kernel", "/sys/fs/cgroup/memory"} {
		if err := h.WriteFiles(h.context(), a, path, oneFile(t, "marker", "")); err == nil {
			t.Errorf("%s was written to", path)
		}
	}
}

func oneFile(t *testing.T, name, content string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestMetrics measures a container that computes and one that keeps memory.
func TestMetrics(t *testing.T) {
	h := newHost(t)
	busy := h.run(h.script(sandbox(t, "busy"), "busy", "while :; do :; done"))
	keeper := h.run(h.script(sandbox(t, "keeper"), "keeper", `head -c 33554432 /dev/zero | tail -c 33554432 | sleep 100000`))
	h.run(h.config(sandbox(t, "idle"), "idle"))
	find := func(name string) (api.ContainerUsage, bool) {
		all, err := h.Metrics(h.context())
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range all {
			if u.Container == name {
				return u, true
			}
		}
		return api.ContainerUsage{}, false
	}
	h.until("it has used a tenth of a second", func() bool {
		u, found := find("busy")
		return found && u.CPU > uint64(100*time.Millisecond)
	})
	h.until("it keeps 32 MiB", func() bool {
		u, found := find("keeper")
		return found && u.Memory > 32<<20 && u.Memory < 200<<20
	})
	idle, _ := find("idle")
	busyUse, _ := find("busy")
	if idle.CPU >= busyUse.CPU || idle.UID != "idle" || idle.Pod != api.PodRef("default", "pod") || idle.Time.IsZero() || idle.Started.IsZero() {
		t.Errorf("idle %+v, busy %+v", idle, busyUse)
	}
	if err := errors.Join(h.Remove(h.context(), busy), h.Remove(h.context(), keeper)); err != nil {
		t.Fatal(err)
	}
	if _, found := find("busy"); found {
		t.Error("a container that is gone is measured")
	}
	if u, err := h.MachineUsage(); err != nil || u.CPU == 0 || u.Memory == 0 {
		t.Errorf("the machine: %+v, %v", u, err)
	}
}

// TestMeasureUnified reads the files of the second version, as a machine has them.
func TestMeasureUnified(t *testing.T) {
	mount := t.TempDir()
	dir := filepath.Join(mount, "headway", "c")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"cpu.stat":       "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n",
		"memory.current": "10485760\n",
		"memory.stat":    "anon 4194304\nfile 6291456\ninactive_file 5242880\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := measure(mount, "/headway/c", true, time.Unix(9, 0))
	if err != nil || got != (api.Usage{Time: time.Unix(9, 0).UTC(), CPU: 1234567000, Memory: 5242880}) {
		t.Errorf("%+v, %v", got, err)
	}
	later := api.Usage{Time: got.Time.Add(2 * time.Second), CPU: got.CPU + uint64(time.Second)}
	if m := later.MilliCPU(got); m != 500 {
		t.Errorf("half a core is %d thousandths", m)
	}
	if _, err := measure(mount, "/headway/none", true, time.Now()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a group that is gone: %v", err)
	}
}
