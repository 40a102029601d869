package containerd

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"headway.dev/headway/internal/testimage"
)

// tarOf is an archive of single files.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadNames(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  []string
	}{
		{"both kinds, as docker save has them", []string{
			"index.json", `{"manifests":[{"annotations":{"io.containerd.image.name":"docker.io/library/a:1","org.opencontainers.image.ref.name":"1"}}]}`,
			"manifest.json", `[{"RepoTags":["a:1","b:2"]}]`,
		}, []string{"docker.io/library/a:1", "docker.io/library/b:2"}},
		{"names that are none", []string{"./index.json", `{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"No Name"}},{}]}`}, nil},
		{"others' files", []string{"blobs/sha256/index.json", `nonsense`}, nil},
	} {
		got, err := readNames(bytes.NewReader(tarOf(t, c.files...)))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	if _, err := readNames(bytes.NewReader(tarOf(t, "index.json", "nonsense"))); err == nil {
		t.Error("an index that is no JSON was read")
	}
}

// FuzzReadNames: whatever the archive, there is an answer, and every name in it is whole.
func FuzzReadNames(f *testing.F) {
	f.Add(tarOf(f, "index.json", `{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"a:1"}}]}`))
	f.Add(tarOf(f, "manifest.json", `[{"RepoTags":["a:1"]}]`))
	i, err := testimage.FromFiles(v1.Config{}, map[string]testimage.File{"a": testimage.Text("a")})
	if err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(f.TempDir(), "i.tar")
	if err := testimage.WriteDockerArchive(file, "a:1", i); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		names, _ := readNames(bytes.NewReader(data))
		for _, name := range names {
			if whole, err := normalise(name); err != nil || whole != name {
				t.Errorf("%q is not whole: %q, %v", name, whole, err)
			}
		}
	})
}
