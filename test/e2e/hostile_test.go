package e2e_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"headway.dev/headway/internal/testimage"
)

// The hosts that bad images come from. A hosts.toml file leads each of them to loopback, and nowhere else.
const (
	hostileHost = "hostile.example" // a registry that answers badly
	closedHost  = "closed.example"  // nobody listens there
	strangeHost = "strange.example" // its certificate is signed by nobody known
)

// A hostile registry serves images that nobody should trust, and serves them badly. Images are pushed to a sound one behind it;
// the first part of a repository's name says what it does to them.
type hostile struct {
	*testing.T
	sound *testimage.Registry
	ended chan struct{} // closed when the test ends: what stalls does so until then
	// escape is a path of the machine that layers try to write to. It must never be there.
	escape string
}

// startHostile serves the images, and tells nodes by their directory of hosts.toml files where.
func startHostile(t *testing.T, certs string) *hostile {
	t.Helper()
	h := &hostile{T: t, sound: testimage.Serve(t), ended: make(chan struct{}), escape: filepath.Join(t.TempDir(), "escaped")}
	next := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: h.sound.Host})
	next.Transport = &http.Transport{}
	next.ModifyResponse = misbehave
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, next) }))
	strange := httptest.NewUnstartedServer(http.NotFoundHandler())
	strange.Config.ErrorLog = log.New(io.Discard, "", 0) // each pull is one that breaks off
	strange.StartTLS()
	t.Cleanup(func() {
		close(h.ended)
		server.Close()
		strange.Close()
		next.Transport.(*http.Transport).CloseIdleConnections()
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for host, address := range map[string]string{hostileHost: server.URL, strangeHost: strange.URL, closedHost: "http://" + nobody} {
		dir := filepath.Join(certs, host)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), fmt.Appendf(nil, "server = %q\n", address), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// serve does what is done before the sound registry is asked.
func (h *hostile) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
	switch repository {
	case "stalls":
		select {
		case <-r.Context().Done():
		case <-h.ended:
		}
	case "asks":
		w.Header().Set("WWW-Authenticate", `Basic realm="hostile"`)
		w.WriteHeader(http.StatusUnauthorized)
	case "breaks":
		w.WriteHeader(http.StatusInternalServerError)
	default:
		next.ServeHTTP(w, r)
	}
}

// misbehave spoils what the sound registry answered.
func misbehave(r *http.Response) error {
	path := strings.TrimPrefix(r.Request.URL.Path, "/v2/")
	repository, _, _ := strings.Cut(path, "/")
	manifest, layer := strings.Contains(path, "/manifests/"), r.ContentLength > 1<<16
	switch {
	case r.StatusCode != http.StatusOK || r.Request.Method != http.MethodGet:
		return nil
	case repository == "lies" && manifest, repository == "alters" && layer:
		// As many bytes, one of them another.
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		data[len(data)-1] ^= 1
		r.Body = io.NopCloser(bytes.NewReader(data))
	case repository == "cuts" && layer:
		r.Body = io.NopCloser(io.LimitReader(r.Body, r.ContentLength/2))
	}
	return nil
}

// push serves an image and returns the name that manifests have for it.
func (h *hostile) push(repository string, image v1.Image) string {
	h.Helper()
	h.sound.Push(h, repository, image)
	return hostileHost + "/" + repository
}

// pushManifest serves a manifest as it is.
func (h *hostile) pushManifest(repository string, mediaType types.MediaType, content string) {
	h.Helper()
	path, tag, _ := strings.Cut(repository, ":")
	request, err := http.NewRequestWithContext(h.Context(), http.MethodPut,
		"http://"+h.sound.Host+"/v2/"+path+"/manifests/"+tag, strings.NewReader(content))
	if err != nil {
		h.Fatal(err)
	}
	request.Header.Set("Content-Type", string(mediaType))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		h.Fatalf("push %s: %s", repository, response.Status)
	}
}

// busybox is an image whose configuration or files are not what they should be.
func (h *hostile) busybox(change func(*v1.ConfigFile, map[string]testimage.File), entries ...*tar.Header) v1.Image {
	h.Helper()
	files, err := testimage.BusyboxFiles()
	if err != nil {
		h.Fatal(err)
	}
	config := v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Config: v1.Config{Cmd: []string{"sleep", "3600"}, Env: []string{"PATH=/bin"}}}
	if change != nil {
		change(&config, files)
	}
	image, err := testimage.FromFiles(config.Config, files)
	if err != nil {
		h.Fatal(err)
	}
	if len(entries) > 0 {
		if image, err = mutate.AppendLayers(image, h.layer(entries)); err != nil {
			h.Fatal(err)
		}
	}
	whole, err := image.ConfigFile()
	if err != nil {
		h.Fatal(err)
	}
	whole = whole.DeepCopy()
	whole.OS, whole.Architecture, whole.Config = config.OS, config.Architecture, config.Config
	if image, err = mutate.ConfigFile(image, whole); err != nil {
		h.Fatal(err)
	}
	return image
}

// layer is one with those entries, whatever they are.
func (h *hostile) layer(entries []*tar.Header) v1.Layer {
	h.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(e); err != nil {
			h.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, e.Size); err != nil {
			h.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		h.Fatal(err)
	}
	opened := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(opened, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		h.Fatal(err)
	}
	return layer
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// pushAll serves every image of the table.
func (h *hostile) pushAll() {
	h.Helper()
	for _, repository := range []string{"lies/app:1", "alters/app:1", "cuts/app:1", "good/app:1", "good/sound:1"} {
		// No two have a layer in common, which the node would not ask for again.
		h.push(repository, h.busybox(func(_ *v1.ConfigFile, f map[string]testimage.File) { f["etc/origin"] = testimage.Text(repository) }))
	}
	foreign := mutate.IndexMediaType(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: h.busybox(nil), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "plan9", Architecture: "sparc64"}},
	}), types.OCIImageIndex)
	h.sound.PushIndex(h, "good/foreign:1", foreign)
	h.pushManifest("good/garbled:1", types.OCIManifestSchema1, "<html>Sign in to the network</html>")
	h.pushManifest("good/chart:1", "application/vnd.example.chart.v1+json", `{"schemaVersion": 2, "mediaType": "application/vnd.example.chart.v1+json"}`)
	for repository, image := range h.images() {
		h.push("good/"+repository+":1", image)
	}
}

// otherProgram is the beginning of a program for a machine that this is not: a PDP-10 that runs Linux.
func otherProgram() []byte {
	program := make([]byte, 64)
	copy(program, "\x7fELF\x02\x01\x01")
	program[16], program[18] = 2, 64
	return program
}

// images are those with bad contents.
func (h *hostile) images() map[string]v1.Image {
	h.Helper()
	type (
		config = v1.ConfigFile
		files  = map[string]testimage.File
	)
	up := strings.Repeat("../", 30)
	file := func(name string) *tar.Header {
		return &tar.Header{Name: name, Mode: 0o644, Size: 1, Typeflag: tar.TypeReg}
	}
	symlink := func(name, to string) *tar.Header {
		return &tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
	}
	return map[string]v1.Image{
		"other":     h.busybox(func(_ *config, f files) { f["bin/sleep"] = testimage.Program(otherProgram()) }),
		"wordy":     h.busybox(func(c *config, _ files) { c.Config.Labels = map[string]string{"essay": strings.Repeat("word ", 1<<20)} }),
		"silent":    h.busybox(func(c *config, _ files) { c.Config.Cmd = nil }),
		"unknown":   h.busybox(func(c *config, _ files) { c.Config.User = "mallory" }),
		"volumes":   h.busybox(func(c *config, _ files) { c.Config.Volumes = map[string]struct{}{"/" + up + h.escape: {}, "..": {}} }),
		"dots":      h.busybox(nil, file(up+h.escape[1:])),
		"symlinks":  h.busybox(nil, symlink("out", "/"), symlink("etc/up", up), file("out"+h.escape), file("etc/up"+h.escape)),
		"hardlinks": h.busybox(nil, &tar.Header{Name: "shadow", Linkname: up + "etc/shadow", Typeflag: tar.TypeLink}),
		"devices":   h.busybox(nil, &tar.Header{Name: "kmsg", Mode: 0o666, Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 11}),
		"passwd": h.busybox(func(c *config, f files) {
			c.Config.User = "root"
			f["etc/passwd"] = testimage.File{Mode: fs.ModeSymlink, Link: "/proc/self/environ"}
		}),
		"alias": h.busybox(func(c *config, f files) {
			c.Config.User = "web"
			f["etc/passwd"] = testimage.Text("web:x:0:0:web:/:/bin/sh\n")
		}),
		"pipe": h.busybox(func(c *config, f files) {
			c.Config.User = "root"
			maps.DeleteFunc(f, func(name string, _ testimage.File) bool { return name == "etc/passwd" })
		}, &tar.Header{Name: "etc/passwd", Mode: 0o644, Typeflag: tar.TypeFifo}),
		"bomb": h.busybox(nil, &tar.Header{Name: "zeros", Mode: 0o644, Size: 2 * snapshotRoom, Typeflag: tar.TypeReg}),
	}
}
