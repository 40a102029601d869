package crash_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sys/unix"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/internal/testimage"
	"headway.dev/headway/internal/testnet"
	"headway.dev/headway/node/containerd"
	"headway.dev/headway/node/volume"
)

// patience bounds every wait. It is long: it only matters where something is lost.
const patience = 40 * time.Second

// A machine is a network namespace, a containerd and a registry, with a daemon that is killed and started again.
type machine struct {
	testing.TB
	order  order
	netns  *testnet.Namespace
	proxy  *proxy
	client *client.Client // past the proxy
	image  string

	daemon   *daemon
	sequence uint64
	timer    *time.Timer       // of a failpoint that is a time
	names    map[string]string // of the pods, by their UIDs
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	testenv.RequireRoot(t)
	private, err := testenv.StartPrivate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := private.Close(); err != nil {
			t.Error(err)
		}
	})
	clearDead(t, filepath.Dir(private.Dir()))
	dir, unique := filepath.Join(private.Dir(), "machine"), prefix+filepath.Base(private.Dir())
	m := &machine{TB: t, names: map[string]string{}, netns: testnet.New(t), order: order{
		Dir: filepath.Join(dir, "node"), RunDir: filepath.Join(dir, "run"), CertsDir: filepath.Join(dir, "certs.d"),
		Blobs: filepath.Join(dir, "blobs"), Address: private.Address(), Namespace: unique, CgroupRoot: "/" + unique,
	}}
	if m.client, err = client.New(private.Address() + ".behind"); err != nil {
		t.Fatal(err)
	}
	m.proxy = stand(t, private.Address())
	t.Cleanup(func() { m.client.Close() })
	m.serveImage()
	for _, dir := range []string{m.order.Dir, m.order.Blobs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(m.cleanUp)
	m.start()
	return m
}

// prefix begins the names of machines' control groups; the name of their containerd's directory follows.
const prefix = "hw-crash-of-"

// clearDead removes what machines have left outside of their directories whose tests were killed. These directories are gone,
// since another containerd was started.
func clearDead(t testing.TB, parent string) {
	t.Helper()
	for _, place := range []struct {
		dirs   string
		remove func(string) error
	}{{"/sys/fs/cgroup/", removeGroup}, {"/sys/fs/cgroup/*/", removeGroup}, {"/run/containerd/runc/", os.RemoveAll}} {
		left, err := filepath.Glob(place.dirs + prefix + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range left {
			if _, err := os.Stat(filepath.Join(parent, strings.TrimPrefix(filepath.Base(dir), prefix))); err == nil {
				continue
			}
			if err := place.remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what a killed test left: %v", err)
			}
		}
	}
}

// removeGroup removes a control group with those below it.
func removeGroup(dir string) error {
	below, err := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, procs := range below {
		if err := removeGroup(filepath.Dir(procs)); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}

// serveImage serves busybox by a registry of the machine's own.
func (m *machine) serveImage() {
	m.Helper()
	listener := m.netns.Listen(m, "127.0.0.1:0")
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	go func() { _ = server.Serve(listener) }() // until Close
	m.Cleanup(func() { server.Close() })
	host := listener.Addr().String()
	m.image = host + "/busybox:1"
	image, err := testimage.Busybox()
	if err != nil {
		m.Fatal(err)
	}
	tag, err := name.NewTag(m.image, name.Insecure)
	if err != nil {
		m.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
		return m.netns.Dial(network, address, patience)
	}}
	if err := remote.Write(tag, image, remote.WithTransport(transport)); err != nil {
		m.Fatal(err)
	}
	hosts := filepath.Join(m.order.CertsDir, host)
	if err := os.MkdirAll(hosts, 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(hosts, "hosts.toml"), fmt.Appendf(nil, "[host.\"http://%s\"]\n", host), 0o644); err != nil {
		m.Fatal(err)
	}
}

// context is that of a call to the machine's containerd.
func (m *machine) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	m.Cleanup(cancel)
	return namespaces.WithNamespace(ctx, m.order.Namespace)
}

// forgetImage takes the image away, so that it is pulled again.
func (m *machine) forgetImage() {
	m.Helper()
	if err := m.client.ImageService().Delete(m.context(), m.image, images.SynchronousDelete()); err != nil {
		m.Fatal(err)
	}
}

// cleanUp removes what the last daemon leaves when it ends as it should.
func (m *machine) cleanUp() {
	m.daemon.end()
	m.proxy.arm(failpoint{}, func() {}) // one that the last daemon has not reached is not for this
	err := m.netns.Do(func() error {
		r, err := containerd.Open(m.context(), m.order.containerd())
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Cleanup(m.context())
	})
	if err != nil {
		m.Errorf("clean up: %v", err)
	}
	// A test that failed may have left the pods' mounts.
	for _, path := range slices.Backward(m.mountPoints()) {
		if strings.HasPrefix(path, m.order.Dir+"/") {
			_ = unix.Unmount(path, unix.MNT_DETACH)
		}
	}
	if err := volume.UnmountMemory(m.order.RunDir); err != nil {
		m.Errorf("clean up: %v", err)
	}
}

// A daemon is a process that runs the node.
type daemon struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	died chan struct{} // closed when the process has ended, and all that it said is heard

	mu     sync.Mutex
	status *api.NodeStatus // the newest of this process
	calls  []string        // that it made at its gates
	log    bytes.Buffer    // read only when it has ended
}

// start starts a daemon, and tells it the assignment if there is one.
func (m *machine) start() {
	m.Helper()
	data, err := json.Marshal(m.order)
	if err != nil {
		m.Fatal(err)
	}
	d := &daemon{died: make(chan struct{})}
	d.cmd = exec.Command(os.Args[0], "-test.run=^TestDaemon$")
	d.cmd.Env = append(os.Environ(), orderVariable+"="+string(data))
	d.cmd.Stderr = &d.log
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		m.Fatal(err)
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		m.Fatal(err)
	}
	m.netns.Must(m, d.cmd.Start)
	go func() {
		defer close(d.died)
		d.hear(out)
		_ = d.cmd.Wait() // it is killed
	}()
	m.daemon = d
}

func (d *daemon) hear(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r report
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue // what the test binary says of itself
		}
		d.mu.Lock()
		if r.Status != nil {
			d.status = r.Status
		} else {
			d.calls = append(d.calls, r.Reached)
		}
		d.mu.Unlock()
	}
}

func (d *daemon) newest() *api.NodeStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

func (d *daemon) made() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// say says something to the daemon; one that is dead does not hear it.
func (d *daemon) say(w word) { _ = json.NewEncoder(d.in).Encode(w) }

// kill kills it, as kill -9 does.
func (d *daemon) kill() { _ = d.cmd.Process.Kill() }

// end has it end as a service manager does, by closing what it hears.
func (d *daemon) end() {
	d.in.Close()
	<-d.died
}

// dump has it write what it is at, and end.
func (d *daemon) dump() {
	_ = d.cmd.Process.Signal(unix.SIGQUIT)
	<-d.died
}

// killed says of one that is dead whether it was killed.
func (d *daemon) killed() bool {
	status, ok := d.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == unix.SIGKILL
}

func (d *daemon) dead() bool {
	select {
	case <-d.died:
		return true
	default:
		return false
	}
}

// put stores a template.
func (m *machine) put(t api.PodTemplate) api.Digest {
	m.Helper()
	data, err := json.Marshal(t)
	if err != nil {
		m.Fatal(err)
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	if err := os.WriteFile(filepath.Join(m.order.Blobs, digest), data, 0o600); err != nil {
		m.Fatal(err)
	}
	return api.Digest(digest)
}

// assignment makes these the pods of the machine.
func (m *machine) assignment(pods []api.Placement) api.Assignment {
	m.sequence++
	return api.Assignment{Node: nodeName, Term: 1, Sequence: m.sequence, Commit: "c0ffee", Pods: pods}
}

// tell tells the daemon its assignment, and has it die at a failpoint of what follows from that. One without a call is a
// time.
func (m *machine) tell(f failpoint, a api.Assignment) {
	d := m.daemon
	m.proxy.arm(f, d.kill)
	d.mu.Lock()
	d.calls = nil
	d.mu.Unlock()
	d.say(word{Failpoint: &f, Assignment: &a})
	if m.timer != nil {
		m.timer.Stop()
	}
	if f.Call == "" && f.Delay > 0 {
		m.timer = time.AfterFunc(f.Delay, d.kill)
	}
}
