package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"headway.dev/headway/api"
)

// A disk is the node's inventory on disk. With it the daemon restarts without the bus:
//
//	assignment.json       the newest assignment that the node obeys
//	routes.json           the routes that the kernel was given last
//	peers.json            the other nodes
//	tenure.json           what the leader last said of what must not run twice
//	blobs/DIGEST          templates and config maps that pods here use
//	pods/UID/pod.json     what the node knows of a pod: lines, of which the last counts
//	pods/UID/NAME.N.log   the log of run N of a container
//	pods/UID/NAME.N.end   what that run wrote of its end
//	claims.json           the claims whose data is here
//	claims/NAMESPACE/NAME what pods keep: it is no pod's, and goes only when an assignment releases it
//
// and, below its other directory, what ends with the machine:
//
//	run/tenure.json       until when the node may run what must not run twice
//	pods/UID/etc/         the pod's hosts, hostname and resolv.conf
//
// A file is replaced as a whole or not at all. One that cannot be read back is reported and taken for absent: the node
// then knows less, and deletes less.
type disk struct{ dir, runDir string }

const (
	assignmentFile = "assignment.json"
	routesFile     = "routes.json"
	peersFile      = "peers.json"
	claimsFile     = "claims.json"
	tenureFile     = "tenure.json"
	lockFile       = "lock"
)

// Lock keeps every other daemon away from a node's directory until unlock, or until the process ends however it does. A daemon
// takes it before it opens anything that another may be working with, and tells its agent so (Config.Locked).
func Lock(dir string) (unlock func(), err error) { return disk{dir: dir}.lock() }

// lock takes the agent's directory, unless its daemon has.
func (a *Agent) lock() (unlock func(), err error) {
	if a.config.Locked {
		return func() {}, nil
	}
	return a.disk.lock()
}

// lock keeps a second agent away until unlock, or until the process ends however it does.
func (d disk) lock() (unlock func(), err error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(d.dir, lockFile), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("node: another daemon works with %s: stop it, or give this one a directory of its own: %w", d.dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// durably says whether a write waits for the disk itself: what it loses in a crash of the machine otherwise.
type durably bool

// write replaces a file with the JSON of value.
func (d disk) write(name string, value any, sync durably) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return d.writeData(name, data, sync)
}

func (d disk) writeData(name string, data []byte, sync durably) error {
	return replaceFile(filepath.Join(d.dir, name), data, sync)
}

// replaceFile writes a file as a whole or not at all, and makes its directory.
func replaceFile(path string, data []byte, sync durably) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), halfWrittenMark+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, unnamed(err))
	}
	_, err = f.Write(data)
	if err == nil && bool(sync) {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, unnamed(err)), os.Remove(f.Name()))
	}
	if !sync {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

// unnamed is an error without the name of the file that is half written: it is another at each attempt, and what fails in the
// same way has to say the same, or each attempt would be news.
func unnamed(err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return of.Err
	}
	if of, ok := errors.AsType[*os.LinkError](err); ok {
		return of.Err
	}
	return err
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// halfWrittenMark begins the name of a file until it is whole.
const halfWrittenMark = "."

func halfWritten(name string) bool { return strings.HasPrefix(name, halfWrittenMark) }

// sweep deletes what an agent that was killed left half written. Pods' own directories go with their pods.
func (d disk) sweep() error {
	var failed []error
	for _, dir := range []string{d.dir, filepath.Join(d.dir, "blobs")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
		for _, e := range entries {
			if halfWritten(e.Name()) && e.Type().IsRegular() {
				failed = append(failed, os.Remove(filepath.Join(dir, e.Name())))
			}
		}
	}
	return errors.Join(failed...)
}

// read fills value from a file; fs.ErrNotExist when it is not there.
func (d disk) read(name string, value any) error {
	data, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, value); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(d.dir, name), err)
	}
	return nil
}

// readRun and writeRun do the same with what ends with the machine.
func (d disk) readRun(name string, value any) error { return disk{dir: d.ofRun()}.read(name, value) }

func (d disk) writeRun(name string, value any) error {
	return disk{dir: d.ofRun()}.write(name, value, false)
}

// ofRun is the directory of files that have the names of others.
func (d disk) ofRun() string { return filepath.Join(d.runDir, "run") }

func (d disk) blob(digest api.Digest) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.dir, "blobs", string(digest)))
}

func (d disk) saveBlob(digest api.Digest, data []byte) error {
	return d.writeData(filepath.Join("blobs", string(digest)), data, false)
}

// keepBlobs deletes all blobs but those wanted. It leaves alone what is just being written.
func (d disk) keepBlobs(wanted map[api.Digest]bool) error {
	entries, err := os.ReadDir(filepath.Join(d.dir, "blobs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var failed []error
	for _, e := range entries {
		if !halfWritten(e.Name()) && !wanted[api.Digest(e.Name())] {
			failed = append(failed, os.Remove(filepath.Join(d.dir, "blobs", e.Name())))
		}
	}
	return errors.Join(failed...)
}

// podDir is where a pod's files are.
func (d disk) podDir(uid string) string { return filepath.Join(d.dir, "pods", uid) }

// etcDir is where the pod's files under /etc are.
func (d disk) etcDir(uid string) string { return filepath.Join(d.runDir, "pods", uid, "etc") }

// removePod forgets a pod, its record last: as long as there is one, the rest is found.
func (d disk) removePod(uid string) error {
	if err := os.RemoveAll(filepath.Dir(d.etcDir(uid))); err != nil {
		return err
	}
	return os.RemoveAll(d.podDir(uid))
}

// claimDir is where the files of a claim are.
func (d disk) claimDir(namespace, name string) (string, error) {
	if !validName(namespace) || !validName(name) {
		return "", fmt.Errorf("the claim %s/%s cannot be the name of a directory", namespace, name)
	}
	return filepath.Join(d.dir, "claims", namespace, name), nil
}

// The kinds of files of a run. All of a pod's are in its directory: to make a directory costs more than to make a file.
const (
	runLog = "log"
	runEnd = "end"
)

// logPath is where a run of a container writes its output.
func (d disk) logPath(uid, container string, attempt int) string {
	return d.runPath(uid, container, attempt, runLog)
}

// messagePath is where a run of a container writes of its end.
func (d disk) messagePath(uid, container string, attempt int) string {
	return d.runPath(uid, container, attempt, runEnd)
}

// runPath is that of a run's file. The name of a container has no dot.
func (d disk) runPath(uid, container string, attempt int, kind string) string {
	return filepath.Join(d.podDir(uid), container+"."+strconv.Itoa(attempt)+"."+kind)
}

// A runFile is a file of a run, or one that is noted beside it.
type runFile struct {
	fs.DirEntry
	attempt int
	kind    string
	beside  bool
}

// runFiles are those of all runs of a container.
func (d disk) runFiles(uid, container string) ([]runFile, error) {
	entries, err := os.ReadDir(d.podDir(uid))
	if err != nil {
		return nil, err
	}
	var files []runFile
	for _, e := range entries {
		name, rest, _ := strings.Cut(e.Name(), ".")
		number, rest, _ := strings.Cut(rest, ".")
		kind, _, beside := strings.Cut(rest, ".")
		if attempt, err := strconv.Atoi(number); err == nil && name == container {
			files = append(files, runFile{e, attempt, kind, beside})
		}
	}
	return files, nil
}

// removeOldRuns deletes the logs of all runs but the current one and the one before it, and the messages of all that are
// over.
func (d disk) removeOldRuns(uid, container string, attempt int) error {
	files, err := d.runFiles(uid, container)
	if err != nil {
		return err
	}
	var failed []error
	for _, f := range files {
		if f.attempt < attempt-1 || f.attempt < attempt && f.kind == runEnd {
			failed = append(failed, os.Remove(filepath.Join(d.podDir(uid), f.Name())))
		}
	}
	return errors.Join(failed...)
}

// validName says whether a UID or digest can be the name of a file: they come from elsewhere.
func validName(name string) bool {
	return name != "" && len(name) <= 255 && name[0] != '.' && filepath.IsLocal(name) && filepath.Base(name) == name
}
