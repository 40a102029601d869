package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headway.dev/headway/api"
)

func TestPruningLeavesWritesAlone(t *testing.T) {
	d := disk{dir: t.TempDir()}
	for _, digest := range []api.Digest{"used", "unused"} {
		if err := d.saveBlob(digest, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	half := filepath.Join(d.dir, "blobs", ".new.123")
	if err := os.WriteFile(half, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.keepBlobs(map[api.Digest]bool{"used": true}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.blob("used"); err != nil {
		t.Error(err)
	}
	if _, err := d.blob("unused"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("content that no pod uses: %v", err)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("what was being written is gone: %v", err)
	}
	if err := d.sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left half written: %v", err)
	}
}

// TestRecordsThatCannotBeRead asks that one bad file costs no other pod its record.
func TestRecordsThatCannotBeRead(t *testing.T) {
	d := disk{dir: t.TempDir()}
	var good record
	good.Placement.UID = "good"
	if err := d.saveRecord(good); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"torn": `{"placement":{"uid":"to`, "empty": "", "moved": `{"placement":{"uid":"else"}}` + "\n"} {
		if err := d.writeData(filepath.Join("pods", name, filepath.Base(d.recordPath(name))), []byte(data), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(d.podDir("bare"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, err := d.records()
	for _, name := range []string{"torn", "empty", "moved"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	if len(all) != 5 || all["good"] == nil || all["torn"] != nil || all["bare"] != nil {
		t.Errorf("got %+v", all)
	}
}

// TestARecordCutAnywhere cuts the file of a record as a failing disk would: there is always the newest record that was whole, and
// what is written next counts again.
func TestARecordCutAnywhere(t *testing.T) {
	d := disk{dir: t.TempDir()}
	path := d.recordPath("p")
	var ends []int64 // where each record is whole
	for attempt := range 5 {
		r := record{IP: fmt.Sprint("10.0.0.", attempt)}
		r.Placement.UID = "p"
		if err := d.saveRecord(r); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, info.Size())
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := range int64(len(whole) + 1) {
		want := -1
		for i, end := range ends {
			if end <= size {
				want = i
			}
		}
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := d.record("p")
		if want < 0 && err == nil || want >= 0 && (err != nil || got.IP != fmt.Sprint("10.0.0.", want)) {
			t.Fatalf("cut at %d of %d: %+v, %v; want record %d", size, len(whole), got, err, want)
		}
		next := record{IP: "next"}
		next.Placement.UID = "p"
		if err := d.saveRecord(next); err != nil {
			t.Fatal(err)
		}
		if got, err := d.record("p"); err != nil || got.IP != "next" {
			t.Fatalf("after one was cut at %d: %+v, %v", size, got, err)
		}
	}
}

// TestARecordsFileIsBegunAnew asks that a pod that restarts for years fills no disk.
func TestARecordsFileIsBegunAnew(t *testing.T) {
	d := disk{dir: t.TempDir()}
	var r record
	r.Placement.UID = "p"
	for i := range 5000 {
		r.IP = fmt.Sprint(i)
		if err := d.saveRecord(r); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(d.recordPath("p"))
	if err != nil || info.Size() > longestRecordFile {
		t.Errorf("%v, %v", info, err)
	}
	if got, err := d.record("p"); err != nil || got.IP != r.IP {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestReplaceFileFailsAlike: what fails twice in the same way says the same, whatever the half-written file was named.
func TestReplaceFileFailsAlike(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "directory")
	if err := os.MkdirAll(filepath.Join(directory, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{directory, "/proc/self/none"} {
		first, second := replaceFile(path, nil, false), replaceFile(path, nil, false)
		if first == nil || second == nil || first.Error() != second.Error() || !strings.Contains(first.Error(), path) {
			t.Errorf("%s: %v, then %v", path, first, second)
		}
	}
}
