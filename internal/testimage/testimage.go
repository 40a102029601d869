// Package testimage builds the small images that tests run, without any download: from files, or from the static busybox
// of the machine. It writes them as archives and serves them on loopback.
package testimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A File is one entry of an image. The permissions default to 0644, and to 0755 for a directory.
type File struct {
	Data []byte
	Mode fs.FileMode // fs.ModeDir for a directory, fs.ModeSymlink for a symbolic link
	Link string      // what a symbolic link points to
}

// Text is a plain file.
func Text(content string) File { return File{Data: []byte(content)} }

// Program is an executable file.
func Program(data []byte) File { return File{Data: data, Mode: 0o755} }

// FromFiles makes an image of one layer for this machine. The files go by their path from the root, without a leading
// slash; directories above them need not be named. The same files make the same image.
func FromFiles(config v1.Config, files map[string]File) (v1.Image, error) {
	layer, err := tarOf(files)
	if err != nil {
		return nil, err
	}
	opened := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }
	content, err := tarball.LayerFromOpener(opened, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.AppendLayers(base, content)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, config
	return mutate.ConfigFile(image, file)
}

func tarOf(files map[string]File) ([]byte, error) {
	all := maps.Clone(files)
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = File{Mode: fs.ModeDir}
			}
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		header := &tar.Header{Name: name, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data)), Typeflag: tar.TypeReg}
		switch {
		case f.Mode.IsDir():
			header.Name, header.Typeflag = name+"/", tar.TypeDir
			header.Mode = int64(orDefault(f.Mode.Perm(), 0o755))
		case f.Mode&fs.ModeSymlink != 0:
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
		default:
			header.Mode = int64(orDefault(f.Mode.Perm(), 0o644))
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func orDefault(mode, otherwise fs.FileMode) fs.FileMode {
	if mode == 0 {
		return otherwise
	}
	return mode
}

// busybox is where Debian's and Ubuntu's busybox-static puts it.
const busybox = "/bin/busybox"

// applets are the commands of busybox that the image has by name.
const applets = "cat chmod cp date dd df echo env false grep head hostname id ip kill ln ls mkdir mount nc ping printf ps readlink " +
	"pwd rm sed sh sleep stat sync tail tee test touch top tr true umount uname wc wget whoami yes"

// BusyboxFiles are the static busybox of this machine and its commands, with users root (0), nobody (65534) and web
// (1000, in the groups web and extra (2000)).
func BusyboxFiles() (map[string]File, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("%w: install busybox-static with make setup", err)
	}
	if bytes.Contains(program[:min(len(program), 4096)], []byte("/ld-linux")) {
		return nil, errors.New(busybox + " is not static: install busybox-static with make setup")
	}
	files := map[string]File{
		"bin/busybox": Program(program),
		"tmp":         {Mode: fs.ModeDir | 0o777},
		"etc/passwd":  Text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\nweb:x:1000:1000:web:/:/bin/sh\n"),
		"etc/group":   Text("root:x:0:\nnobody:x:65534:\nweb:x:1000:\nextra:x:2000:web\n"),
	}
	for _, name := range strings.Fields(applets) {
		files["bin/"+name] = File{Mode: fs.ModeSymlink, Link: "busybox"}
	}
	return files, nil
}

// Busybox makes an image with a shell that runs a command; without one it sleeps until it is told to end.
func Busybox(command ...string) (v1.Image, error) {
	files, err := BusyboxFiles()
	if err != nil {
		return nil, err
	}
	if len(command) == 0 {
		// A shell that is the first process ignores signals that it has no trap for.
		command = []string{"sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"}
	}
	return FromFiles(v1.Config{Cmd: command, Env: []string{"PATH=/bin"}}, files)
}
