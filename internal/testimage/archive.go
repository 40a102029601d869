package testimage

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// WriteArchive writes an image as an OCI archive, under the name that containerd's import reads.
func WriteArchive(file, reference string, image v1.Image) error {
	blobs, manifest, err := blobsOf(image)
	if err != nil {
		return err
	}
	manifest.Annotations = map[string]string{ocispec.AnnotationRefName: reference}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{manifest},
	})
	if err != nil {
		return err
	}
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	blobs = append(blobs, blob{ocispec.ImageLayoutFile, layout}, blob{ocispec.ImageIndexFile, index})
	return replace(file, func(w io.Writer) error { return writeTar(w, blobs) })
}

// WriteDockerArchive writes an image as "docker save" does.
func WriteDockerArchive(file, reference string, image v1.Image) error {
	tag, err := name.NewTag(reference)
	if err != nil {
		return err
	}
	return replace(file, func(w io.Writer) error { return tarball.Write(tag, image, w) })
}

// A blob is one file of an archive.
type blob struct {
	name string
	data []byte
}

func blobPath(digest v1.Hash) string { return filepath.Join("blobs", digest.Algorithm, digest.Hex) }

// blobsOf are the manifest, the configuration and the layers of an image, with the descriptor of the first.
func blobsOf(image v1.Image) ([]blob, ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	manifest, err := image.RawManifest()
	if err != nil {
		return nil, none, err
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, none, err
	}
	mediaType, err := image.MediaType()
	if err != nil {
		return nil, none, err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return nil, none, err
	}
	configDigest, err := image.ConfigName()
	if err != nil {
		return nil, none, err
	}
	blobs := []blob{{blobPath(digest), manifest}, {blobPath(configDigest), config}}
	layers, err := image.Layers()
	if err != nil {
		return nil, none, err
	}
	for _, layer := range layers {
		b, err := layerBlob(layer)
		if err != nil {
			return nil, none, err
		}
		blobs = append(blobs, b)
	}
	return blobs, ocispec.Descriptor{MediaType: string(mediaType), Digest: ocidigest(digest), Size: int64(len(manifest))}, nil
}

func layerBlob(layer v1.Layer) (blob, error) {
	digest, err := layer.Digest()
	if err != nil {
		return blob{}, err
	}
	content, err := layer.Compressed()
	if err != nil {
		return blob{}, err
	}
	defer content.Close()
	data, err := io.ReadAll(content)
	return blob{blobPath(digest), data}, err
}

func writeTar(w io.Writer, blobs []blob) error {
	tw := tar.NewWriter(w)
	slices.SortStableFunc(blobs, func(a, b blob) int { return len(a.name) - len(b.name) })
	for _, b := range blobs {
		if err := tw.WriteHeader(&tar.Header{Name: b.name, Mode: 0o644, Size: int64(len(b.data)), Typeflag: tar.TypeReg}); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if _, err := tw.Write(b.data); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return tw.Close()
}

// replace writes a file and moves it to its place when it is whole, so that no reader of the directory meets half of it.
func replace(file string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".archive-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
