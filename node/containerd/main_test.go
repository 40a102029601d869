package containerd

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/internal/testimage"
	"headway.dev/headway/node"
)

func TestMain(m *testing.M) {
	code := testenv.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const patience = 30 * time.Second

// A host is a namespace of a real containerd, with the directory where a test keeps what the machine needs.
type host struct {
	t testing.TB
	*Runtime
	dir   string
	image string // busybox, present
}

// newHost opens a runtime in a namespace of its own, and clears that away when the test ends.
func newHost(t testing.TB, change ...func(*Options)) *host {
	t.Helper()
	name := "hw-test-" + strings.ToLower(rand.Text()[:10])
	o := Options{
		Address: testenv.Containerd(t), Namespace: name, CgroupRoot: "/" + name + "/node",
		ImageDir: t.TempDir(), CertsDir: t.TempDir(),
	}
	for _, c := range change {
		c(&o)
	}
	h := &host{t: t, dir: t.TempDir(), image: "headway.test/busybox:1"}
	image, err := testimage.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	if err := testimage.WriteArchive(filepath.Join(o.ImageDir, "busybox.tar"), h.image, image); err != nil {
		t.Fatal(err)
	}
	h.Runtime = h.open(t, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Cleanup(ctx); err != nil {
			t.Error(err)
		}
		h.nothingLeft()
	})
	if _, err := h.Ensure(t.Context(), h.image, corev1.PullIfNotPresent); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) open(t testing.TB, o Options) *Runtime {
	t.Helper()
	r, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// nothingLeft looks for what Cleanup should have taken away.
func (h *host) nothingLeft() {
	h.t.Helper()
	all, err := h.client.NamespaceService().List(context.Background())
	if err != nil {
		h.t.Error(err)
	}
	for _, name := range all {
		if name == h.options.Namespace {
			h.t.Errorf("the containerd namespace %s is left", name)
		}
	}
	h.until("the shims end", func() bool { return len(h.shims()) == 0 })
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		h.t.Error(err)
	}
	if strings.Contains(string(mounts), "/"+h.options.Namespace+"/") {
		h.t.Errorf("mounts are left:\n%s", mounts)
	}
	for _, pattern := range []string{cgroupMount + "/*/", cgroupMount + "/", "/run/containerd/*/"} {
		left, err := filepath.Glob(pattern + h.options.Namespace)
		if err != nil || len(left) > 0 {
			h.t.Errorf("directories are left: %v, %v", left, err)
		}
	}
}

func (h *host) shims() []int {
	h.t.Helper()
	pids, err := testenv.Shims(h.options.Address, h.options.Namespace)
	if err != nil {
		h.t.Fatal(err)
	}
	return pids
}

// sandbox pins namespaces for a pod.
func sandbox(t testing.TB, uid string) node.Sandbox {
	t.Helper()
	dir := t.TempDir()
	s := node.Sandbox{
		UID: uid, NetNS: filepath.Join(dir, "net"), IPCNS: filepath.Join(dir, "ipc"), UTSNS: filepath.Join(dir, "uts"),
	}
	files := map[string]string{"net": s.NetNS, "ipc": s.IPCNS, "uts": s.UTSNS}
	for _, file := range files {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", file, err)
			}
		})
	}
	done := make(chan error)
	go func() {
		// The thread is not given back: it ends with the goroutine, and its namespaces with the mounts.
		runtime.LockOSThread()
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
				return err
			}
			for kind, file := range files {
				if err := unix.Mount("/proc/thread-self/ns/"+kind, file, "", unix.MS_BIND, ""); err != nil {
					return err
				}
			}
			return unix.Sethostname([]byte(uid))
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return s
}

// config describes a container of a pod; without arguments it sleeps.
func (h *host) config(s node.Sandbox, name string, command ...string) node.ContainerConfig {
	c := corev1.Container{Name: name, Image: h.image, Command: command}
	return node.ContainerConfig{
		Pod:       api.PodIdentity{Pod: api.PodRef("default", "pod"), UID: s.UID, Template: "0123", Commit: "c0ffee"},
		Container: c, Spec: &corev1.PodSpec{Containers: []corev1.Container{c}}, Sandbox: s,
		LogPath: filepath.Join(h.dir, s.UID+"-"+name+".log"),
	}
}

func (h *host) script(s node.Sandbox, name, script string) node.ContainerConfig {
	return h.config(s, name, "sh", "-c", script)
}

func (h *host) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	h.t.Cleanup(cancel)
	return ctx
}

// run creates and starts a container.
func (h *host) run(config node.ContainerConfig) string {
	h.t.Helper()
	id, err := h.Create(h.context(), config)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.Start(h.context(), id); err != nil {
		h.t.Fatal(err)
	}
	return id
}

func (h *host) find(id string) (node.Container, bool) {
	h.t.Helper()
	all, err := h.Containers(h.context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, c := range all {
		if c.ID == id {
			return c, true
		}
	}
	return node.Container{}, false
}

// until waits for a condition.
func (h *host) until(what string, condition func() bool) {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			h.t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

func (h *host) exited(id string) node.Container {
	h.t.Helper()
	var c node.Container
	h.until(id+" ends", func() bool {
		var found bool
		if c, found = h.find(id); !found {
			h.t.Fatalf("%s is gone", id)
		}
		return c.State == node.ContainerExited
	})
	return c
}

// output runs a container to its end and gives its log.
func (h *host) output(config node.ContainerConfig) string {
	h.t.Helper()
	id := h.run(config)
	h.exited(id)
	if err := h.Remove(h.context(), id); err != nil { // which waits for the log
		h.t.Fatal(err)
	}
	data, err := os.ReadFile(config.LogPath)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}
