package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/internal/testimage"
	"headway.dev/headway/node"
)

func TestNormalise(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for name, want := range map[string]string{
		"nginx":                            "docker.io/library/nginx:latest",
		"nginx:1.27":                       "docker.io/library/nginx:1.27",
		"library/nginx":                    "docker.io/library/nginx:latest",
		"grafana/grafana:11":               "docker.io/grafana/grafana:11",
		"localhost/a":                      "localhost/a:latest",
		"127.0.0.1:5000/a/b:1":             "127.0.0.1:5000/a/b:1",
		"registry.example/a@" + digest:     "registry.example/a@" + digest,
		"registry.example/a:1@" + digest:   "registry.example/a@" + digest,
		"Nginx":                            "",
		"":                                 "",
		"registry.example/a b":             "",
		"registry.example/a@sha256:abcdef": "",
	} {
		got, err := normalise(name)
		var bad *node.ImageError
		if want == "" && (!errors.As(err, &bad) || bad.Reason != "InvalidImageName") || want != "" && (err != nil || got != want) {
			t.Errorf("%q: got %q, %v; want %q", name, got, err, want)
		}
	}
}

// small makes an image that differs by its text and cannot run.
func small(t testing.TB, text string) v1.Image {
	t.Helper()
	i, err := testimage.FromFiles(v1.Config{Cmd: []string{"/none"}}, map[string]testimage.File{"etc/text": testimage.Text(text)})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func digestOf(t testing.TB, i v1.Image) string {
	t.Helper()
	d, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func (h *host) ensure(image string, policy corev1.PullPolicy) string {
	h.t.Helper()
	digest, err := h.Ensure(h.context(), image, policy)
	if err != nil {
		h.t.Fatal(err)
	}
	return digest
}

// fails asks for an image that cannot be had, and for an error that says why and names it.
func (h *host) fails(image string, policy corev1.PullPolicy, reason string) {
	h.t.Helper()
	_, err := h.Ensure(h.context(), image, policy)
	var imageErr *node.ImageError
	if !errors.As(err, &imageErr) || imageErr.Reason != reason || !strings.Contains(err.Error(), image) {
		h.t.Errorf("%s with policy %s: %v; want %s", image, policy, err, reason)
	}
}

func TestPullPolicies(t *testing.T) {
	h := newHost(t)
	registry := testimage.Serve(t)
	one, two := small(t, "one"), small(t, "two")
	name := registry.Push(t, "app:1", one)
	h.fails(name, corev1.PullNever, "ErrImageNeverPull")
	h.fails(registry.Host+"/none:1", corev1.PullIfNotPresent, "ErrImagePull")
	h.fails("UPPER", corev1.PullIfNotPresent, "InvalidImageName")
	if got := h.ensure(name, corev1.PullIfNotPresent); got != digestOf(t, one) {
		t.Errorf("pulled %s, want %s", got, digestOf(t, one))
	}
	registry.Push(t, "app:1", two)
	registry.Requests()
	for _, policy := range []corev1.PullPolicy{corev1.PullIfNotPresent, corev1.PullNever, ""} {
		if got := h.ensure(name, policy); got != digestOf(t, one) {
			t.Errorf("with policy %q: %s, want what was there", policy, got)
		}
	}
	if asked := registry.Requests(); len(asked) > 0 {
		t.Errorf("for an image that is there the registry was asked %v", asked)
	}
	if got := h.ensure(name, corev1.PullAlways); got != digestOf(t, two) {
		t.Errorf("with policy Always: %s, want what the registry has now", got)
	}
	if got := h.ensure(name, corev1.PullNever); got != digestOf(t, two) {
		t.Errorf("after that: %s", got)
	}
	byDigest := registry.Host + "/app@" + digestOf(t, one)
	if got := h.ensure(byDigest, corev1.PullIfNotPresent); got != digestOf(t, one) {
		t.Errorf("by its digest: %s", got)
	}
}

// TestPullsCoalesce has many ask for one image at the same time, and the first of them give up.
func TestPullsCoalesce(t *testing.T) {
	h := newHost(t)
	registry := testimage.Serve(t)
	name := registry.Push(t, "app:1", small(t, "one"))
	registry.Requests()
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	registry.Before(func() {
		once.Do(func() { close(asked) })
		<-goOn
	})
	impatient, giveUp := context.WithCancel(h.context())
	first := make(chan error)
	go func() {
		_, err := h.Ensure(impatient, name, corev1.PullIfNotPresent)
		first <- err
	}()
	<-asked
	const others = 10
	results := make(chan error)
	for range others {
		go func() {
			_, err := h.Ensure(h.context(), name, corev1.PullIfNotPresent)
			results <- err
		}()
	}
	h.until("all wait", func() bool { return h.pulls.waitingFor("IfNotPresent "+name) == others+1 })
	giveUp()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that gave up: %v", err)
	}
	close(goOn)
	for range others {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	manifests := 0
	for _, r := range registry.Requests() {
		if strings.Contains(r, "/manifests/") {
			manifests++
		}
	}
	if manifests > 2 {
		t.Errorf("the manifest was asked for %d times", manifests)
	}
}

// TestPullEndsWithTheLastWaiter leaves no download behind that nobody wants.
func TestPullEndsWithTheLastWaiter(t *testing.T) {
	h := newHost(t)
	registry := testimage.Serve(t)
	name := registry.Push(t, "app:1", small(t, "one"))
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	registry.Before(func() {
		once.Do(func() { close(asked) })
		<-goOn
	})
	ctx, cancel := context.WithCancel(h.context())
	done := make(chan error)
	go func() {
		_, err := h.Ensure(ctx, name, corev1.PullIfNotPresent)
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that gave up: %v", err)
	}
	close(goOn)
	registry.Before(nil)
	h.ensure(name, corev1.PullIfNotPresent)
}

// TestMirror pulls a name that leads nowhere from the mirror that a hosts.toml has for it, by a dialer of the caller's.
func TestMirror(t *testing.T) {
	registry := testimage.Serve(t)
	i := small(t, "one")
	registry.Push(t, "team/app:1", i)
	var dialed atomic.Int32
	h := newHost(t, func(o *Options) {
		hosts := filepath.Join(o.CertsDir, "registry.example")
		if err := os.MkdirAll(hosts, 0o755); err != nil {
			t.Fatal(err)
		}
		content := fmt.Sprintf("server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", "https://registry.example", "http://"+registry.Host)
		if err := os.WriteFile(filepath.Join(hosts, "hosts.toml"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dialed.Add(1)
			if address != registry.Host {
				return nil, fmt.Errorf("no way to %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	if got := h.ensure("registry.example/team/app:1", corev1.PullIfNotPresent); got != digestOf(t, i) {
		t.Errorf("got %s", got)
	}
	if dialed.Load() == 0 {
		t.Error("the dialer was not used")
	}
	h.fails("registry.example/team/other:1", corev1.PullIfNotPresent, "ErrImagePull")
}

func TestImageDirectory(t *testing.T) {
	var dir string
	h := newHost(t, func(o *Options) { dir = o.ImageDir })
	one, two := small(t, "one"), small(t, "two")
	write := func(write func(string, string, v1.Image) error, file, name string, i v1.Image, age time.Duration) {
		t.Helper()
		file = filepath.Join(dir, file)
		if err := write(file, name, i); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.tar"), []byte("this is no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	write(testimage.WriteArchive, "oci.tar", "app:1", one, time.Hour)
	write(testimage.WriteDockerArchive, "docker.tar", "team/tool:2", two, time.Hour)
	if got := h.ensure("docker.io/library/app:1", corev1.PullIfNotPresent); got != digestOf(t, one) {
		t.Errorf("from an OCI archive: %s", got)
	}
	h.ensure("team/tool:2", corev1.PullIfNotPresent) // whose digest is made on import
	h.fails("127.0.0.1:1/none:1", corev1.PullIfNotPresent, "ErrImagePull")

	// A newer archive counts only for those who ask for what is newest.
	write(testimage.WriteArchive, "newer.tar", "app:1", two, time.Minute)
	if got := h.ensure("app:1", corev1.PullIfNotPresent); got != digestOf(t, one) {
		t.Errorf("with IfNotPresent: %s, want what was there", got)
	}
	for range 2 {
		if got := h.ensure("app:1", corev1.PullAlways); got != digestOf(t, two) {
			t.Errorf("with Always: %s, want the newest archive's", got)
		}
	}
	// It lies there, so no pull is needed.
	write(testimage.WriteArchive, "never.tar", "never:1", one, time.Minute)
	h.ensure("never:1", corev1.PullNever)

	names := h.imageNames()
	want := []string{"docker.io/library/app:1", "docker.io/library/never:1", "docker.io/team/tool:2", h.image}
	if !slices.Equal(names, want) {
		t.Errorf("images %v, want %v", names, want)
	}
}

func (h *host) imageNames() []string {
	h.t.Helper()
	all, err := h.client.ImageService().List(h.scope(h.context()))
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return names
}

// TestImageRemovedBehindItsBack takes an image away from containerd that the runtime has seen.
func TestImageRemovedBehindItsBack(t *testing.T) {
	h := newHost(t)
	ctx := h.scope(h.context())
	if err := h.removeImages(ctx); err != nil {
		t.Fatal(err)
	}
	config := h.config(sandbox(t, "pod"), "a")
	_, err := h.Create(h.context(), config)
	var missing *node.ImageError
	if !errors.As(err, &missing) || missing.Reason != "ErrImagePull" {
		t.Errorf("a container of an image that is gone: %v", err)
	}
	h.ensure(h.image, corev1.PullIfNotPresent)
	// It was seen, and is gone unnoticed.
	seen := h.images.get(h.image)
	if err := h.removeImages(ctx); err != nil {
		t.Fatal(err)
	}
	h.images.put(seen)
	if _, err := h.Create(h.context(), config); err == nil || !strings.Contains(err.Error(), h.image) {
		t.Errorf("a container of an image that is gone: %v", err)
	}
	h.ensure(h.image, corev1.PullIfNotPresent)
	h.run(config)
}

// TestTransportsClose leaves no connection open; goleak would find its goroutines.
func TestTransportsClose(t *testing.T) {
	var tr transports
	c := &http.Client{Transport: &http.Transport{}}
	if err := tr.update(c); err != nil {
		t.Fatal(err)
	}
	registry := testimage.Serve(t)
	resp, err := c.Get("http://" + registry.Host + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	tr.close()
}
