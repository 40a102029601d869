package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"headway.dev/headway/internal/testimage"
)

// RegistryHost is the name by which manifests call the registry; nodes reach it by a mirror.
const RegistryHost = "registry.example"

// A Registry serves images on loopback.
type Registry struct {
	address string
	server  *http.Server
}

// StartRegistry serves an empty registry on a port of its own.
func StartRegistry() (*Registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Registry{
		address: listener.Addr().String(),
		server: &http.Server{
			Handler:           registry.New(registry.Logger(log.New(io.Discard, "", 0))),
			ReadHeaderTimeout: 10 * time.Second,
		},
	}
	// It ends with Close.
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

// Close ends the registry.
func (r *Registry) Close() error { return r.server.Close() }

// Mirror writes the hosts.toml files by which nodes find this registry under some names, and returns their directory.
func (r *Registry) Mirror(dir string, names ...string) (string, error) {
	hosts := filepath.Join(dir, "certs.d")
	for _, name := range names {
		content := fmt.Sprintf("server = \"https://%s\"\n\n[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", name, r.address)
		if err := os.MkdirAll(filepath.Join(hosts, name), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(hosts, name, "hosts.toml"), []byte(content), 0o644); err != nil {
			return "", err
		}
	}
	return hosts, nil
}

// Push serves an image as repository:tag.
func (r *Registry) Push(ctx context.Context, reference string, image v1.Image) error {
	ref, err := name.NewTag(r.address+"/"+reference, name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithContext(ctx))
}

// BuildProgram compiles a Go program of this module without cgo.
func BuildProgram(ctx context.Context, pkg, output string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", output, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// ProgramImage makes an image that holds one static program and runs it.
func ProgramImage(binary string) (v1.Image, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	path := "bin/" + filepath.Base(binary)
	return testimage.FromFiles(v1.Config{Entrypoint: []string{"/" + path}}, map[string]testimage.File{path: testimage.Program(program)})
}

// Address is where the registry listens.
func (r *Registry) Address() string { return r.address }
