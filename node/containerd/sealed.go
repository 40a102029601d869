package containerd

import (
	"bytes"
	"crypto/rand"
	_ "embed" // for the script
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"
)

// The environment and the command of a container can hold secrets, which must never come to a disk. But containerd keeps
// the whole specification in its database, its runtime writes it to a file, and runc reads the environment of a command
// that is run in the container from another. So a confidential container is recorded with marks in their place. What the
// marks stand for is kept in memory, in a directory of the container, and a script that runs in the place of runc puts
// it in, in files that are in memory too.
const (
	sealedScript = "runc-sealed"
	marksFile    = "marks.sed"
)

//go:embed sealed.sh
var sealedRunc string

// sealing is where confidential containers have their directories: empty where the node has none.
type sealing string

// openSealing writes the script, if there is a directory. It must be in memory.
func openSealing(dir string) (sealing, error) {
	if dir == "" {
		return "", nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if s.Type != unix.TMPFS_MAGIC && s.Type != unix.RAMFS_MAGIC {
		return "", fmt.Errorf("%s is not in memory, and secrets must not come to a disk: mount a tmpfs there", dir)
	}
	script := filepath.Join(dir, sealedScript)
	if have, err := os.ReadFile(script); err == nil && string(have) == sealedRunc {
		return sealing(dir), nil
	}
	if err := os.WriteFile(script+".new", []byte(sealedRunc), 0o700); err != nil {
		return "", err
	}
	return sealing(dir), os.Rename(script+".new", script)
}

// seal takes what is confidential out of a container's specification, and keeps it in memory.
func (d sealing) seal(id string, s *specs.Spec) error {
	if d == "" {
		return errors.New("its environment holds secrets, and this node has no directory in memory to keep them in")
	}
	mark := "headway-" + rand.Text() + "-"
	var script bytes.Buffer
	for _, sealed := range []struct {
		name  string
		words *[]string
	}{{"env", &s.Process.Env}, {"args", &s.Process.Args}} {
		list, err := json.Marshal(*sealed.words)
		if err != nil {
			return err
		}
		substitute(&script, `["`+mark+sealed.name+`"]`, string(list))
		*sealed.words = []string{mark + sealed.name}
	}
	s.Root.Path = mark + "rootfs"
	dir := filepath.Join(string(d), id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The script replaces this mark, with a path that it alone knows.
	if err := os.WriteFile(filepath.Join(dir, "rootfs"), []byte(s.Root.Path), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, marksFile), script.Bytes(), 0o600)
}

// delimiter parts the halves of sed's command: JSON writes it in another way.
const delimiter = "\x01"

// substitute writes a command of sed that replaces JSON by JSON. A command of several words has white space in it when it
// is written for people; containerd and runc write it without.
func substitute(script *bytes.Buffer, from, to string) {
	from = strings.NewReplacer("[", `\[`, "]", `\]`).Replace(from)
	to = strings.NewReplacer(`\`, `\\`, "&", `\&`).Replace(to)
	script.WriteString("s" + delimiter + from + delimiter + to + delimiter + "\n")
}

// runtimeOptions have the shim run the script for a confidential container.
func (d sealing) runtimeOptions() (*anypb.Any, error) {
	return typeurl.MarshalAnyToProto(&options.Options{BinaryName: filepath.Join(string(d), sealedScript)})
}

// forget deletes what is kept of a container.
func (d sealing) forget(id string) error {
	if d == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(string(d), id))
}

// kept are the containers of which something is kept.
func (d sealing) kept() ([]string, error) {
	if d == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("look for secrets of containers: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}
