package containerd

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"headway.dev/headway/node"
)

// inMemory mounts a tmpfs for a test.
func inMemory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestConfidential has a container whose environment and command hold a word that must be found nowhere on the disk, neither
// while it runs nor while a command runs in it.
func TestConfidential(t *testing.T) {
	memory := inMemory(t)
	h := newHost(t, func(o *Options) { o.SealedDir = memory })
	const word = "sword|fish & \\1 \"é\" \x02 $(X)"
	config := h.script(sandbox(t, "pod"), "web", "echo $PASSWORD; echo $0; echo ready; sleep 100000")
	config.Container.Command = append(config.Container.Command, "--password="+word)
	config.Env = []string{"USER=ann", "PASSWORD=" + word}
	config.Confidential = true
	id := h.run(config)
	h.until("it says who it is", func() bool {
		log, err := os.ReadFile(config.LogPath)
		return err == nil && string(log) == word+"\n--password="+word+"\nready\n"
	})
	var out bytes.Buffer
	code, err := h.Exec(h.context(), id, []string{"sh", "-c", "echo $USER $PASSWORD; cat /proc/1/environ | grep -c PASSWORD; exit 3"}, node.Streams{Stdout: &out})
	if err != nil || code != 3 || out.String() != "ann "+word+"\n1\n" {
		t.Errorf("a command ended with %d and said %q, %v", code, &out, err)
	}
	// That the search finds what there is shows another container, which hides nothing.
	open := h.script(sandbox(t, "open"), "web", "true")
	open.Env = []string{"PASSWORD=herring"}
	if _, err := h.Create(h.context(), open); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, dir := range []string{filepath.Dir(h.options.Address), "/var/lib/containerd", "/run/containerd"} {
		found += len(holding(t, dir, "herring"))
		for _, path := range holding(t, dir, "sword|fish") {
			t.Errorf("the word is in %s", path)
		}
	}
	if found == 0 {
		t.Error("the search finds nothing")
	}
	if left, err := filepath.Glob(filepath.Join(memory, id, "*.json")); err != nil || len(left) > 0 {
		t.Errorf("copies are left: %v, %v", left, err)
	}
	if err := h.Remove(h.context(), id); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(memory); err != nil || len(left) != 1 || left[0].Name() != sealedScript {
		t.Errorf("left in memory are %v, %v", left, err)
	}
}

// holding lists the files below a directory that hold a word.
func holding(t *testing.T, dir, word string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil // gone meanwhile, or no file
		}
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(word)) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestConfidentialNeedsMemory(t *testing.T) {
	h := newHost(t)
	config := h.script(sandbox(t, "pod"), "web", "true")
	config.Confidential = true
	if _, err := h.Create(h.context(), config); err == nil || !strings.Contains(err.Error(), "no directory in memory") {
		t.Errorf("got %v", err)
	}
	if _, err := openSealing(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not in memory") {
		t.Errorf("got %v", err)
	}
}

// TestSealedForgets asks that what is kept of containers can be found and deleted.
func TestSealedForgets(t *testing.T) {
	memory := sealing(inMemory(t))
	for _, id := range []string{"gone", "there"} {
		s := &specs.Spec{Process: &specs.Process{}, Root: &specs.Root{}}
		if err := memory.seal(id, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := memory.forget("gone"); err != nil {
		t.Fatal(err)
	}
	if left, err := memory.kept(); err != nil || !slices.Equal(left, []string{"there"}) {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestSealedProperty: whatever the words are, what sed puts in is what was taken out.
func TestSealedProperty(t *testing.T) {
	memory := inMemory(t)
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringOf(rapid.OneOf(rapid.SampledFrom([]rune("&\\|\"$'\n/[]\x01\x02s,")), rapid.Rune())), 1, 3)
		process := specs.Process{Env: words.Draw(t, "env"), Args: words.Draw(t, "args"), Cwd: "/"}
		want := mustJSON(t, process)
		s := &specs.Spec{Process: &process, Root: &specs.Root{}}
		if err := sealing(memory).seal("id", s); err != nil {
			t.Fatal(err)
		}
		sed := exec.Command("sed", "-f", filepath.Join(memory, "id", marksFile))
		sed.Stdin = strings.NewReader(mustJSON(t, process))
		got, err := sed.Output()
		if err != nil || strings.TrimSuffix(string(got), "\n") != want {
			t.Fatalf("of\n%s\ncame\n%s\n%v", want, got, err)
		}
	})
}

func mustJSON(t *rapid.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
