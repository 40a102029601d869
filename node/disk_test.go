package node

import (
	"errors"
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
	for name, data := range map[string]string{"torn": `{"placement":{"uid":"to`, "empty": "", "moved": `{"placement":{"uid":"else"}}`} {
		if err := d.writeData(filepath.Join("pods", name, "pod.json"), []byte(data), false); err != nil {
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
