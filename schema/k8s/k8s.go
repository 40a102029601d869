// Package k8s holds CUE definitions of the Kubernetes API, so that repositories that import them load without a network:
// k8s.io/api and what it uses of k8s.io/apimachinery as "cue get go" makes them, and the same as the module
// cue.dev/x/k8s.io lays them out, with each kind's apiVersion and kind filled in.
package k8s

import (
	_ "embed" // of the definitions
	"fmt"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/tools/txtar"
)

// generate.sh writes definitions.txtar.zst from the k8s.io/api that go.mod requires.
//
//go:generate ./generate.sh

//go:embed definitions.txtar.zst
var definitions []byte

// Library is the definitions.
type Library struct {
	// Version is that of the k8s.io/api that they were made from.
	Version string
	// Packages are the files of each package, by its import path without a major version.
	Packages map[string][]File
}

// A File is one file of a package.
type File struct {
	Name string
	Data []byte
}

// Open unpacks the definitions, which takes a millisecond or two. It fails only if the program was built wrong.
func Open() (*Library, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := r.DecodeAll(definitions, nil)
	if err != nil {
		return nil, fmt.Errorf("the Kubernetes definitions in this program: %w", err)
	}
	archive := txtar.Parse(data)
	l := &Library{Version: strings.TrimSpace(string(archive.Comment)), Packages: map[string][]File{}}
	for _, f := range archive.Files {
		dir, name := path.Split(f.Name)
		dir = path.Clean(dir)
		l.Packages[dir] = append(l.Packages[dir], File{name, f.Data})
	}
	return l, nil
}
