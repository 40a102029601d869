package containerd

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// archives are the files of the image directory, and what is known of them.
type archives struct {
	dir string
	log *slog.Logger

	mu    sync.Mutex
	known map[string]archive // by file
	// imported is the state in which each image's archive was when the image was imported from it.
	imported map[string]stamp // by image name
}

// A stamp tells one content of a file from another.
type stamp struct {
	file    string
	size    int64
	changed time.Time
}

type archive struct {
	stamp
	names []string // of its images, normalised
}

func newArchives(dir string, log *slog.Logger) *archives {
	return &archives{dir: dir, log: log, known: map[string]archive{}, imported: map[string]stamp{}}
}

// find gives the archive that has an image; of several the newest, then the last by name.
func (a *archives) find(name string) (archive, bool, error) {
	if a.dir == "" {
		return archive{}, false, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.scan(); err != nil {
		return archive{}, false, fmt.Errorf("image directory: %w", err)
	}
	var best archive
	for _, f := range a.known {
		if slices.Contains(f.names, name) && cmp.Or(f.changed.Compare(best.changed), cmp.Compare(f.file, best.file)) > 0 {
			best = f
		}
	}
	return best, best.file != "", nil
}

// scan reads the names in archives that are new or have changed. One that cannot be read is logged, and harms no other.
func (a *archives) scan() error {
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return err
	}
	found := map[string]archive{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".tar") {
			continue
		}
		s := stamp{file: filepath.Join(a.dir, e.Name()), size: info.Size(), changed: info.ModTime()}
		if old, ok := a.known[s.file]; ok && old.stamp == s {
			found[s.file] = old
			continue
		}
		names, err := namesIn(s.file)
		if err != nil {
			a.log.Warn("cannot read an image archive", "file", s.file, "error", err)
		}
		found[s.file] = archive{stamp: s, names: names}
	}
	a.known = found
	return nil
}

func (a *archives) isImported(name string, s stamp) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.imported[name] == s
}

func (a *archives) setImported(file archive) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range file.names {
		a.imported[name] = file.stamp
	}
}

// maxIndex bounds the size of an archive's table of contents.
const maxIndex = 4 << 20

// namesIn reads the images' names from an archive's index (OCI) or manifest (Docker), without reading its layers.
func namesIn(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readNames(f)
}

func readNames(r io.Reader) ([]string, error) {
	var raw []string
	for files := tar.NewReader(r); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		var names []string
		switch filepath.Clean(header.Name) {
		case ocispec.ImageIndexFile:
			names, err = ociNames(files)
		case "manifest.json":
			names, err = dockerNames(files)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", header.Name, err)
		}
		raw = append(raw, names...)
	}
	var names []string
	for _, name := range raw {
		if whole, err := normalise(name); err == nil {
			names = append(names, whole)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func ociNames(r io.Reader) ([]string, error) {
	var index ocispec.Index
	if err := json.NewDecoder(io.LimitReader(r, maxIndex)).Decode(&index); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range index.Manifests {
		if name := cmp.Or(m.Annotations[images.AnnotationImageName], m.Annotations[ocispec.AnnotationRefName]); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

func dockerNames(r io.Reader) ([]string, error) {
	var manifest []struct{ RepoTags []string }
	if err := json.NewDecoder(io.LimitReader(r, maxIndex)).Decode(&manifest); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range manifest {
		names = append(names, m.RepoTags...)
	}
	return names, nil
}

// importArchive imports the archive of the image directory that has an image, and reports whether there is one.
// It is not read again while it and the image stay as they are.
func (r *Runtime) importArchive(ctx context.Context, name string) (bool, error) {
	file, found, err := r.store.find(name)
	if err != nil || !found {
		return false, err
	}
	if r.store.isImported(name, file.stamp) {
		_, err := r.client.ImageService().Get(ctx, name)
		if err == nil || !errdefs.IsNotFound(err) {
			return err == nil, err
		}
	}
	r.options.Logger.InfoContext(ctx, "importing", "image", name, "file", file.file)
	pinned, err := r.pinned(ctx)
	if err != nil {
		return false, err
	}
	if err := r.importFile(ctx, file.file); err != nil {
		return false, fmt.Errorf("import %s: %w", file.file, err)
	}
	for _, name := range file.names {
		if err := r.pin(ctx, name, pinned[name]); err != nil {
			return false, fmt.Errorf("pin %s again: %w", name, err)
		}
	}
	r.store.setImported(file)
	return true, nil
}

func (r *Runtime) importFile(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.leased(ctx, func(ctx context.Context) error {
		imported, err := r.client.Import(ctx, f, client.WithImageRefTranslator(wholeName), client.WithImageLabels(map[string]string{labelOurs: originImported}))
		if err != nil {
			return err
		}
		for _, i := range imported {
			if err := r.rename(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
}

func wholeName(name string) string {
	whole, err := normalise(name)
	if err != nil {
		return "" // an image that nothing could refer to
	}
	return whole
}

// rename gives an imported image its whole name where the archive has it in short.
func (r *Runtime) rename(ctx context.Context, i images.Image) error {
	service := r.client.ImageService()
	short := i.Name
	if i.Name = wholeName(short); i.Name == "" || i.Name == short {
		_, err := service.Update(ctx, i, "labels") // which the import leaves as they were
		return err
	}
	_, err := service.Create(ctx, i)
	if errdefs.IsAlreadyExists(err) {
		_, err = service.Update(ctx, i, "target", "labels")
	}
	if err != nil {
		return err
	}
	if err := service.Delete(ctx, short); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}
