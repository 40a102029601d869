package testimage

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
)

func ocidigest(h v1.Hash) digest.Digest { return digest.Digest(h.String()) }

// A Registry serves images on loopback, without TLS, until the test ends.
type Registry struct {
	Host string // address and port

	mu       sync.Mutex
	requests []string // method and path, in the order of arrival
	before   func()
}

// Serve starts an empty registry on a port of its own.
func Serve(t testing.TB) *Registry {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r := &Registry{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, req.Method+" "+req.URL.Path)
		before := r.before
		r.mu.Unlock()
		if before != nil {
			before()
		}
		handler.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	r.Host = server.Listener.Addr().String()
	return r
}

// Before has a function called before every request is answered; nil ends that.
func (r *Registry) Before(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = fn
}

// Requests are all requests since the last call, as method and path.
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.requests
	r.requests = nil
	return all
}

// Push serves an image as repository:tag, and returns its whole name with the registry's host.
func (r *Registry) Push(t testing.TB, repository string, image v1.Image) string {
	t.Helper()
	reference := r.Host + "/" + repository
	tag, err := name.NewTag(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image, remote.WithContext(context.WithoutCancel(t.Context()))); err != nil {
		t.Fatal(err)
	}
	return reference
}

// PushIndex serves images for several platforms as repository:tag.
func (r *Registry) PushIndex(t testing.TB, repository string, index v1.ImageIndex) {
	t.Helper()
	tag, err := name.NewTag(r.Host+"/"+repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index, remote.WithContext(context.WithoutCancel(t.Context()))); err != nil {
		t.Fatal(err)
	}
}
