package debimage

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"headway.dev/headway/internal/testimage"
)

// A Recipe says what an image is made of. The machine's static busybox is always in it, as the shell and the commands that
// start scripts need.
type Recipe struct {
	Name     string
	Packages []string
	// Keep are patterns, as of filepath.Match, of what the image has of the packages' files; for a directory, of all below.
	Keep []string
	// Links are further symbolic links, each by its path to a pattern that matches one path of the packages': for what has
	// a version in its path.
	Links map[string]string
	// Files are further ones, and those that stand in for files of the packages.
	Files  map[string]testimage.File
	Config v1.Config
}

// Image makes an image, or takes the one that was made before by the same recipe and kept in a directory. Without packages
// to make it from the error is ErrNoPackages.
func (r Recipe) Image(ctx context.Context, cache string) (v1.Image, error) {
	recipe, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(cache, fmt.Sprintf("%s-%.8x.tar", r.Name, sha256.Sum256(recipe)))
	reference := "debimage/" + r.Name + ":made"
	if _, err := os.Stat(file); err == nil {
		return tarball.ImageFromPath(file, nil)
	}
	image, err := r.make(ctx)
	if err != nil {
		return nil, fmt.Errorf("make an image of %s: %w", r.Name, err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	if err := testimage.WriteDockerArchive(file, reference, image); err != nil {
		return nil, err
	}
	return tarball.ImageFromPath(file, nil)
}

func (r Recipe) make(ctx context.Context) (v1.Image, error) {
	root, err := os.MkdirTemp("", "debian-root-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	if err := unpack(ctx, root, r.Packages); err != nil {
		return nil, err
	}
	files, err := testimage.BusyboxFiles()
	if err != nil {
		return nil, err
	}
	c := &collection{root: root, files: files}
	for _, pattern := range r.Keep {
		if err := c.keep(pattern); err != nil {
			return nil, err
		}
	}
	for name, pattern := range r.Links {
		matches, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		if len(matches) != 1 {
			return nil, fmt.Errorf("%d files match %s, where %s is to lead to", len(matches), pattern, name)
		}
		files[name] = testimage.File{Mode: fs.ModeSymlink, Link: strings.TrimPrefix(matches[0], root)}
	}
	maps.Copy(files, r.Files)
	return testimage.FromFiles(r.Config, files)
}
