// Command pack reads the definitions that "cue get go" makes of the Kubernetes API and writes them, fitted to how
// manifests are written, to the archive that package k8s holds.
package main

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/tools/txtar"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("pack", flag.ContinueOnError)
	flags.SetOutput(stderr)
	version := flags.String("version", "", "the version of k8s.io/api")
	out := flags.String("out", "", "the archive to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || *version == "" || *out == "" {
		return fmt.Errorf("usage: pack -version VERSION -out FILE DIRECTORY")
	}
	files, err := read(os.DirFS(flags.Arg(0)))
	if err != nil {
		return err
	}
	archive, err := pack(*version, files)
	if err != nil {
		return err
	}
	return os.WriteFile(*out, archive, 0o644)
}

// A source is one generated file.
type source struct {
	name string // below the directory of generated files
	file *ast.File
}

// dir is the import path of the file's package.
func (s source) dir() string { return path.Dir(s.name) }

// read parses every CUE file, in order.
func read(fsys fs.FS) ([]source, error) {
	var files []source
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".cue" {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(name, data) // without comments
		if err != nil {
			return err
		}
		files = append(files, source{strings.TrimSuffix(name, "_go_gen.cue") + ".cue", file})
		return nil
	})
	return files, err
}

// pack makes the archive. Equal input gives equal bytes. A file and its curated form stand together, where they compress
// best.
func pack(version string, files []source) ([]byte, error) {
	archive := txtar.Archive{Comment: []byte(version + "\n")}
	add := func(name string, file *ast.File) error {
		data, err := format.Node(file, format.Simplify())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: data})
		return nil
	}
	groups := groupNames(files)
	for _, s := range files {
		if mend(s.name, s.file); len(s.file.Decls) < 2 {
			continue // the package clause alone
		}
		if err := add(s.name, s.file); err != nil {
			return nil, err
		}
		curate(s, groups)
		if err := add(path.Join(curated, s.name), s.file); err != nil {
			return nil, err
		}
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return w.EncodeAll(txtar.Format(&archive), nil), w.Close()
}
