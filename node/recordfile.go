package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A pod's record changes several times while the pod starts, and a new file each time would be a new inode each time, which is
// what of a start costs a disk most. So it is a file of lines, the newest last. A line counts once it is whole; what a write
// that failed or a machine that lost its power left of one is passed over, and the record before it counts.

// longestRecordFile is where such a file is begun anew, with its newest line alone.
const longestRecordFile = 64 << 10

// recordPath is where a pod's record is.
func (d disk) recordPath(uid string) string { return filepath.Join(d.podDir(uid), "pod.json") }

// saveRecord writes a pod's record. How a pod ended has to outlive the machine's power.
func (d disk) saveRecord(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("the record of pod %s: %w", r.Placement.UID, err)
	}
	// With a line's end before it, it does not go on from what a write left that failed.
	data = append(append([]byte{'\n'}, data...), '\n')
	path, sync := d.recordPath(r.Placement.UID), durably(r.Outcome.Phase != "")
	if info, err := os.Stat(path); err != nil || info.Size()+int64(len(data)) > longestRecordFile {
		return replaceFile(path, data, sync)
	}
	return appendTo(path, data, sync)
}

// appendTo adds to a file that is there.
func appendTo(path string, data []byte, sync durably) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && bool(sync) {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// record reads what is kept of a pod; fs.ErrNotExist if that is nothing.
func (d disk) record(uid string) (*record, error) {
	path := d.recordPath(uid)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := newestRecord(data)
	if err == nil && r.Placement.UID != uid {
		err = fmt.Errorf("it is of pod %q", r.Placement.UID)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// newestRecord is the last whole line of a file of records.
func newestRecord(data []byte) (*record, error) {
	err := errors.New("it holds no record")
	for len(data) > 0 {
		start := bytes.LastIndexByte(data[:len(data)-1], '\n') + 1
		line := data[start:]
		data = data[:start]
		if !bytes.HasSuffix(line, []byte{'\n'}) || len(line) == 1 {
			continue
		}
		var r record
		if e := json.Unmarshal(line, &r); e != nil {
			err = e
			continue
		}
		return &r, nil
	}
	return nil, err
}

// records reads what is kept of every pod. A pod whose record cannot be read has a nil one, and its error is joined to
// the others.
func (d disk) records() (map[string]*record, error) {
	entries, err := os.ReadDir(filepath.Join(d.dir, "pods"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	all := map[string]*record{}
	var failed []error
	for _, e := range entries {
		r, err := d.record(e.Name())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
		all[e.Name()] = r
	}
	return all, errors.Join(failed...)
}
