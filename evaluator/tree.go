package evaluator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"headway.dev/headway/schema"
)

// work is a job with what the child would otherwise ask first.
type work struct {
	Job *schema.Job `json:"job"`
	// Keys are those of the contents of Job.Files, empty where the tree knows none.
	Keys []string `json:"keys,omitempty"`
}

// A question is what the child wants to know of a path.
type question struct {
	Op   operation `json:"op"`
	Path string    `json:"path"`
}

type operation string

const (
	opKey   operation = "key"   // of the content, or that there is none
	opStat  operation = "stat"  // what it is, following a link if the tree does
	opLstat operation = "lstat" // what it is
	opRead  operation = "read"  // its content
	opList  operation = "list"  // what is in the directory
)

type answer struct {
	Error   string  `json:"error,omitempty"`
	Missing bool    `json:"missing,omitempty"` // the error is that nothing is there
	Key     *string `json:"key,omitempty"`
	Info    *info   `json:"info,omitempty"`
	Entries []info  `json:"entries,omitempty"`
}

// info describes a file or directory.
type info struct {
	Called string      `json:"name"`
	Bytes  int64       `json:"size,omitempty"`
	Kind   fs.FileMode `json:"mode,omitempty"`
}

var (
	_ fs.FileInfo = info{}
	_ fs.DirEntry = info{}
)

func (i info) Name() string               { return i.Called }
func (i info) Size() int64                { return i.Bytes }
func (i info) Mode() fs.FileMode          { return i.Kind }
func (i info) Type() fs.FileMode          { return i.Kind.Type() }
func (i info) IsDir() bool                { return i.Kind.IsDir() }
func (i info) ModTime() time.Time         { return time.Time{} }
func (i info) Sys() any                   { return nil }
func (i info) Info() (fs.FileInfo, error) { return i, nil }

// A keyed tree knows a key for the content of each file and directory, as Git does.
type keyed interface {
	Hash(path string) (string, bool)
}

// maxRead is the largest file that is handed to a child; the compiler takes smaller ones only.
const maxRead = 16 << 20

// reply answers a question about a tree.
func reply(to *pipe, tree fs.FS, q question) error {
	var a answer
	var err error
	switch q.Op {
	case opKey:
		if t, ok := tree.(keyed); ok {
			if key, ok := t.Hash(q.Path); ok {
				a.Key = &key
			}
		}
	case opStat, opLstat:
		look := fs.Stat
		if q.Op == opLstat {
			look = fs.Lstat
		}
		var found fs.FileInfo
		if found, err = look(tree, q.Path); err == nil {
			a.Info = &info{found.Name(), found.Size(), found.Mode()}
		}
	case opRead:
		var data []byte
		if data, err = readBounded(tree, q.Path); err == nil {
			return to.send(frameContent, data)
		}
	case opList:
		var entries []fs.DirEntry
		entries, err = fs.ReadDir(tree, q.Path)
		for _, e := range entries {
			a.Entries = append(a.Entries, info{Called: e.Name(), Kind: e.Type()})
		}
	default:
		return fmt.Errorf("%w: there is no question %q", errGarbage, q.Op)
	}
	if err != nil {
		a.Error, a.Missing = reason(err), errors.Is(err, fs.ErrNotExist)
	}
	return to.sendJSON(frameAnswer, a)
}

func readBounded(tree fs.FS, name string) ([]byte, error) {
	found, err := fs.Stat(tree, name)
	if err != nil {
		return nil, err
	}
	if found.Size() > maxRead {
		return nil, fmt.Errorf("it has %d bytes, and a manifest may have fewer", found.Size())
	}
	return fs.ReadFile(tree, name)
}

// reason is an error's text without the operation and the path, which the child adds again.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// maxKept is how many bytes of contents a child keeps for the next job.
const maxKept = 64 << 20

// contents are files by their keys, which outlive a job.
type contents struct {
	byKey map[string][]byte
	size  int
}

func (c *contents) keep(key string, data []byte) {
	if c.size+len(data) > maxKept {
		c.byKey, c.size = nil, 0
	}
	if c.byKey == nil {
		c.byKey = map[string][]byte{}
	}
	c.byKey[key] = data
	c.size += len(data)
}

// A remoteTree is the parent's tree as the child sees it.
type remoteTree struct {
	mu       sync.Mutex // held for a question and its answer
	pipe     *pipe
	receive  func() (frame, []byte, error)
	contents *contents
	keys     map[string]string // of paths; empty for what has none
}

var (
	_ fs.ReadDirFS  = (*remoteTree)(nil)
	_ fs.ReadFileFS = (*remoteTree)(nil)
	_ fs.StatFS     = (*remoteTree)(nil)
	_ fs.ReadLinkFS = (*remoteTree)(nil)
)

// newRemoteTree shows the tree of a job.
func newRemoteTree(p *pipe, receive func() (frame, []byte, error), kept *contents, w work) *remoteTree {
	t := &remoteTree{pipe: p, receive: receive, contents: kept, keys: map[string]string{}}
	if len(w.Keys) == len(w.Job.Files) {
		for i, file := range w.Job.Files {
			t.keys[file] = w.Keys[i]
		}
	}
	return t
}

// ask puts a question; content is the answer to one for that.
func (t *remoteTree) ask(op operation, name string) (answer, []byte, error) {
	verb := map[operation]string{opStat: "stat", opLstat: "lstat", opRead: "open", opList: "open", opKey: "key"}[op]
	if !fs.ValidPath(name) {
		return answer{}, nil, &fs.PathError{Op: verb, Path: name, Err: fs.ErrInvalid}
	}
	if err := t.pipe.sendJSON(frameAsk, question{op, name}); err != nil {
		return answer{}, nil, &fs.PathError{Op: verb, Path: name, Err: err}
	}
	f, payload, err := t.receive()
	if err != nil {
		return answer{}, nil, &fs.PathError{Op: verb, Path: name, Err: err}
	}
	var a answer
	switch f {
	case frameContent:
		return a, payload, nil
	case frameAnswer:
		err = json.Unmarshal(payload, &a)
	default:
		err = errGarbage
	}
	if err != nil {
		return answer{}, nil, &fs.PathError{Op: verb, Path: name, Err: err}
	}
	switch {
	case a.Missing:
		return a, nil, &fs.PathError{Op: verb, Path: name, Err: fs.ErrNotExist}
	case a.Error != "":
		return a, nil, &fs.PathError{Op: verb, Path: name, Err: errors.New(a.Error)}
	}
	return a, nil, nil
}

// Hash gives the key of a file's content, if the tree has one.
func (t *remoteTree) Hash(name string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.key(name)
}

func (t *remoteTree) key(name string) (string, bool) {
	key, ok := t.keys[name]
	if !ok {
		if a, _, err := t.ask(opKey, name); err == nil && a.Key != nil {
			key = *a.Key
		}
		t.keys[name] = key
	}
	return key, key != ""
}

// kept gives the content of a file that was met before.
func (t *remoteTree) kept(name string) ([]byte, bool) {
	key, ok := t.key(name)
	if !ok {
		return nil, false
	}
	data, ok := t.contents.byKey[key]
	return data, ok
}

// ReadFile reads a file. The caller may change what it gets.
func (t *remoteTree) ReadFile(name string) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if data, ok := t.kept(name); ok {
		return slices.Clone(data), nil
	}
	_, data, err := t.ask(opRead, name)
	if err != nil {
		return nil, err
	}
	if key, ok := t.key(name); ok {
		t.contents.keep(key, slices.Clone(data))
	}
	return data, nil
}

// Stat describes a file.
func (t *remoteTree) Stat(name string) (fs.FileInfo, error) { return t.stat(opStat, name) }

// Lstat describes a file or link.
func (t *remoteTree) Lstat(name string) (fs.FileInfo, error) { return t.stat(opLstat, name) }

func (t *remoteTree) stat(op operation, name string) (fs.FileInfo, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if data, ok := t.kept(name); ok && op == opStat {
		return info{Called: path.Base(name), Bytes: int64(len(data)), Kind: 0o444}, nil
	}
	a, _, err := t.ask(op, name)
	if err != nil {
		return nil, err
	}
	if a.Info == nil {
		return nil, &fs.PathError{Op: string(op), Path: name, Err: errGarbage}
	}
	return *a.Info, nil
}

// ReadLink is not answered: no link is followed.
func (t *remoteTree) ReadLink(name string) (string, error) {
	return "", &fs.PathError{Op: "readlink", Path: name, Err: errors.ErrUnsupported}
}

// ReadDir lists a directory.
func (t *remoteTree) ReadDir(name string) ([]fs.DirEntry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, _, err := t.ask(opList, name)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, len(a.Entries))
	for i, e := range a.Entries {
		entries[i] = e
	}
	return entries, nil
}

// Open opens a directory to be described; files are read whole.
func (t *remoteTree) Open(name string) (fs.File, error) {
	i, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	return described{i}, nil
}

// described is an opened file of which only the description is of use.
type described struct{ fs.FileInfo }

func (d described) Stat() (fs.FileInfo, error) { return d.FileInfo, nil }
func (described) Read([]byte) (int, error)     { return 0, io.ErrUnexpectedEOF }
func (described) Close() error                 { return nil }
