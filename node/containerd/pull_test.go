package containerd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testimage"
	"headway.dev/headway/node"
)

// before puts something before a registry, which gives its host.
func before(t *testing.T, registry *testimage.Registry, handle func(w http.ResponseWriter, r *http.Request, next http.Handler)) string {
	t.Helper()
	next := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry.Host})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, next) }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { next.Transport = nil; http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return server.Listener.Addr().String()
}

func dockerConfig(host, user, password string) string {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, auth)
}

// pullSecrets are image pull secrets of those contents.
func pullSecrets(contents ...string) func(context.Context) ([]node.PullSecret, error) {
	var all []node.PullSecret
	for i, c := range contents {
		all = append(all, node.PullSecret{Name: fmt.Sprint("s", i), Data: api.NewSecretData(map[string][]byte{".dockerconfigjson": []byte(c)})})
	}
	return func(context.Context) ([]node.PullSecret, error) { return all, nil }
}

// guarded is a registry that wants a password.
func guarded(t *testing.T, registry *testimage.Registry, password string) string {
	t.Helper()
	return before(t, registry, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if user, got, _ := r.BasicAuth(); user != "robot" || got != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// TestPullCredentials pulls from a registry that wants a password: with a secret of the pod's, with the node's file, and
// with wrong ones.
func TestPullCredentials(t *testing.T) {
	const password = "correct-horse"
	registry := testimage.Serve(t)
	registry.Push(t, "team/app:1", small(t, "one"))
	host := guarded(t, registry, password)
	var file string
	h := newHost(t, func(o *Options) {
		file = filepath.Join(t.TempDir(), "config.json")
		o.CredentialsFile = file
	})
	name := host + "/team/app:1"
	pull := func(secrets ...string) error {
		_, err := h.Pull(h.context(), node.PullRequest{Image: name, Policy: corev1.PullAlways, Secrets: pullSecrets(secrets...)})
		return err
	}
	for what, secrets := range map[string][]string{
		"nobody":        nil,
		"another host":  {dockerConfig("registry.example", "robot", password)},
		"another team":  {dockerConfig(host+"/other", "robot", password)},
		"wrong":         {dockerConfig(host, "robot", "wrong-"+password)},
		"not a config":  {password},
		"no user in it": {fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, password)},
	} {
		var imageErr *node.ImageError
		if err := pull(secrets...); !errors.As(err, &imageErr) || imageErr.Reason != "ErrImagePull" || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := pull(dockerConfig(host, "robot", "old"), dockerConfig("http://"+host+"/team", "robot", password)); err != nil {
		t.Errorf("the second of two secrets: %v", err)
	}
	if err := os.WriteFile(file, []byte(dockerConfig(host, "robot", password)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pull(); err != nil {
		t.Errorf("the node's file: %v", err)
	}
}

func TestCredentialPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, host, image string
		want                 bool
	}{
		{"https://index.docker.io/v1/", "registry-1.docker.io", "nginx", true},
		{"docker.io", "registry-1.docker.io", "nginx", true},
		{"registry.example", "registry.example", "registry.example/a:1", true},
		{"registry.example", "mirror.example", "registry.example/a:1", false},
		{"*.example", "registry.example", "registry.example/a:1", true},
		{"*", "registry.example", "registry.example/a:1", false},
		{"registry.example/team", "registry.example", "registry.example/team/a:1", true},
		{"registry.example/team", "registry.example", "registry.example/teams/a:1", false},
		{"127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1:5000/a", true},
		{"127.0.0.1:5000", "127.0.0.1:5001", "127.0.0.1:5001/a", false},
	} {
		kept := forRepository([]credential{{pattern: cleanPattern(c.pattern)}}, c.image)
		if got := len(kept) == 1 && kept[0].matches(c.host); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte(dockerConfig("registry.example", "u", "p")))
	f.Add([]byte(`{"auths": {"a": {"identitytoken": "t"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func([]byte) ([]credential, error){parseConfig, parseLegacy} {
			all, err := parse(data)
			if err != nil && len(all) > 0 {
				t.Errorf("%v and %d credentials", err, len(all))
			}
			for _, c := range all {
				c.matches("registry.example:5000")
				if len(c.secret) > 8 && !strings.Contains(c.pattern, c.secret) && strings.Contains(fmt.Sprintf("%v %+v %#v", c, c, c), c.secret) {
					t.Errorf("%v shows its secret", c)
				}
			}
		}
	})
}

// big makes an image with a layer of so many bytes that cannot be compressed.
func big(t *testing.T, size int) v1.Image {
	t.Helper()
	data := make([]byte, size)
	seed := uint32(1)
	for i := range data {
		seed = seed*1664525 + 1013904223
		data[i] = byte(seed >> 24)
	}
	return small(t, string(data))
}

// TestPullProgress holds a layer back after half of it.
func TestPullProgress(t *testing.T) {
	registry := testimage.Serve(t)
	const size = 6 << 20
	registry.Push(t, "app:1", big(t, size))
	goOn := make(chan struct{})
	host := before(t, registry, halved(size, goOn))
	h := newHost(t)
	var told []api.PullProgress
	_, err := h.Pull(h.context(), node.PullRequest{Image: host + "/app:1", Progress: func(p api.PullProgress) {
		told = append(told, p)
		if p.Done > size/4 && len(told) > 0 && goOn != nil {
			close(goOn)
			goOn = nil
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) < 2 || told[0].String() != "pulling" || !strings.HasPrefix(told[len(told)-1].String(), "pulling: ") || !slices.IsSortedFunc(told, func(a, b api.PullProgress) int { return int(a.Done - b.Done) }) {
		t.Errorf("it was told %v", told)
	}
}

// halved passes on only half of what is large, until it may go on.
func halved(size int, goOn <-chan struct{}) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&halfWriter{ResponseWriter: w, left: size / 2, goOn: goOn, ended: r.Context().Done()}, r)
	}
}

type halfWriter struct {
	http.ResponseWriter
	left  int
	goOn  <-chan struct{}
	ended <-chan struct{}
}

func (w *halfWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left <= 0 {
		w.ResponseWriter.(http.Flusher).Flush()
		select {
		case <-w.goOn:
		case <-w.ended:
		}
	}
	return w.ResponseWriter.Write(p)
}

// TestPullStalls pulls from a registry that stops in the middle, and from one that never answers.
func TestPullStalls(t *testing.T) {
	registry := testimage.Serve(t)
	const size = 2 << 20
	registry.Push(t, "app:1", big(t, size))
	half := before(t, registry, halved(size, nil))
	silent := before(t, registry, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
	h := newHost(t, func(o *Options) { o.PullStall = 300 * time.Millisecond })
	for _, host := range []string{half, silent} {
		begun := time.Now()
		_, err := h.Ensure(h.context(), host+"/app:1", corev1.PullIfNotPresent)
		if err == nil || !strings.Contains(err.Error(), "has sent nothing for 300ms") {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	}
}

// TestPullsAreBounded asks for many images at once.
func TestPullsAreBounded(t *testing.T) {
	registry := testimage.Serve(t)
	const images = 10
	for i := range images {
		registry.Push(t, fmt.Sprintf("app%d:1", i), small(t, fmt.Sprint(i)))
	}
	var asked, most atomic.Int32
	seen := make(chan string, 100)
	full := make(chan struct{})
	host := before(t, registry, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/manifests/") && r.Method == http.MethodHead {
			seen <- r.URL.Path
			most.Store(max(most.Load(), asked.Add(1)))
			<-full
			defer asked.Add(-1)
		}
		next.ServeHTTP(w, r)
	})
	h := newHost(t)
	done := make(chan error, images)
	for i := range images {
		go func() {
			_, err := h.Ensure(h.context(), fmt.Sprintf("%s/app%d:1", host, i), corev1.PullIfNotPresent)
			done <- err
		}()
	}
	for range pullsAtOnce {
		<-seen
	}
	close(full)
	for range images {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > pullsAtOnce {
		t.Errorf("%d at once", most.Load())
	}
}

// TestHostileMetadata refuses what would fill the memory, before it is fetched.
func TestHostileMetadata(t *testing.T) {
	p := newProgress()
	fetched := false
	var layers []ocispec.Descriptor
	for i := range maxLayers + 1 {
		layers = append(layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(fmt.Sprint(i)), Size: 1})
	}
	handler := p.watch(handlerFunc(func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		fetched = true
		return layers, nil
	}))
	_, err := handler.Handle(t.Context(), ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Size: maxMetadata + 1})
	if err == nil || fetched {
		t.Errorf("a large configuration: fetched %v, %v", fetched, err)
	}
	if _, err := handler.Handle(t.Context(), ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Size: 100}); err == nil || !strings.Contains(err.Error(), "128 layers") {
		t.Errorf("many layers: %v", err)
	}
}

type handlerFunc func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error)

func (f handlerFunc) Handle(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return f(ctx, d)
}
