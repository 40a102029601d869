package schema

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// unfinished begins the names of entries that are being written; one that stays is from a process that died.
const unfinished = "new-"

// maxDisk bounds what a disk cache holds, in bytes.
const maxDisk = 256 << 20

// A diskCache keeps entries as files of a directory. Whatever is wrong with one, it is as if it were not there. Several
// processes may use a directory at once: an entry is written beside its place and moved there.
type diskCache struct {
	dir     string // of the entries that this program wrote
	all     string // holds dir, and those of other programs
	limit   int64
	written atomic.Int64 // since the last look at the limit
}

// openDiskCache makes the directory. Entries of another build of the program, which may mean something else, are never
// read: the executable's own hash is part of the path.
func openDiskCache(dir string, limit int64) (*diskCache, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("the program's own file: %w", err)
	}
	f, err := os.Open(program)
	if err != nil {
		return nil, fmt.Errorf("the program's own file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("the program's own file: %w", err)
	}
	d := &diskCache{dir: filepath.Join(dir, hex.EncodeToString(h.Sum(nil)[:12])), all: dir, limit: limit}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("the cache: %w", err)
	}
	d.prune()
	return d, nil
}

func (d *diskCache) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(d.dir, hex.EncodeToString(sum[:]))
}

// get gives the entry of a key.
func (d *diskCache) get(key string) ([]byte, bool) {
	name := d.path(key)
	data, err := os.ReadFile(name)
	if err != nil || len(data) < sha256.Size {
		return nil, false
	}
	entry := data[sha256.Size:]
	if sum := sha256.Sum256(entry); !bytes.Equal(sum[:], data[:sha256.Size]) {
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // only the order in which entries are forgotten follows it
	return entry, true
}

// put keeps an entry; an error means that it is not kept.
func (d *diskCache) put(key string, entry []byte) error {
	f, err := os.CreateTemp(d.dir, unfinished+"*")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(entry)
	_, err = f.Write(append(sum[:], entry...))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.path(key))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if d.written.Add(int64(len(entry))) > d.limit/4 {
		d.written.Store(0)
		d.prune()
	}
	return nil
}

// prune removes what was used longest ago while there is too much, whatever program wrote it.
func (d *diskCache) prune() {
	type entry struct {
		name string
		used time.Time
		size int64
	}
	var entries []entry
	var total int64
	_ = filepath.WalkDir(d.all, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil //nolint:nilerr // another process may just have removed it
		}
		info, err := e.Info()
		if err == nil && (!strings.HasPrefix(e.Name(), unfinished) || time.Since(info.ModTime()) > time.Hour) {
			entries = append(entries, entry{name, info.ModTime(), info.Size()})
			total += info.Size()
		}
		return nil
	})
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name)) })
	for _, e := range entries {
		if total <= d.limit {
			return
		}
		if os.Remove(e.name) == nil {
			total -= e.size
		}
	}
}

// pack joins what an evaluation was made from, and the evaluation.
func pack(read map[string]string, e *Evaluation) ([]byte, error) {
	head, err := json.Marshal(read)
	if err != nil {
		return nil, err
	}
	body, err := e.MarshalBinary()
	return slices.Concat(binary.AppendUvarint(nil, uint64(len(head))), head, body), err
}

// unpack is the reverse of pack; false if the entry is not one.
func unpack(entry []byte) (read map[string]string, e *Evaluation, ok bool) {
	size, n := binary.Uvarint(entry)
	if n <= 0 || size > uint64(len(entry)-n) {
		return nil, nil, false
	}
	head, body := entry[n:n+int(size)], entry[n+int(size):]
	e = &Evaluation{}
	if json.Unmarshal(head, &read) != nil || e.UnmarshalBinary(body) != nil {
		return nil, nil, false
	}
	return read, e, true
}
