package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServerIdentity: a control plane started again is the same, two at a time are not let into one directory, and a copy on
// another machine is another.
func TestServerIdentity(t *testing.T) {
	dir := t.TempDir()
	first, release, err := serverIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := serverIdentity(dir); err == nil || !strings.Contains(err.Error(), "another control plane works in "+dir) {
		t.Errorf("a second one: %v", err)
	}
	release()
	again, release, err := serverIdentity(dir)
	if err != nil || again != first {
		t.Errorf("it was %q and is %q, %v", first, again, err)
	}
	release()
	for _, foreign := range []string{"elsewhere-" + strings.TrimPrefix(first, "x"), "", "\n"} {
		if err := os.WriteFile(filepath.Join(dir, "identity"), []byte(foreign), 0o600); err != nil {
			t.Fatal(err)
		}
		other, release, err := serverIdentity(dir)
		if err != nil || other == first || other == foreign {
			t.Errorf("%q gives %q, %v", foreign, other, err)
		}
		release()
	}
}
