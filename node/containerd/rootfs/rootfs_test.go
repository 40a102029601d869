package rootfs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/node/containerd/rootfs"
)

// A jail is a directory that stands for a container's root, beside one that must not change.
type jail struct {
	testing.TB
	dir, outside string
	root         *os.File
}

func newJail(t testing.TB) *jail {
	t.Helper()
	base := t.TempDir()
	j := &jail{TB: t, dir: filepath.Join(base, "root"), outside: filepath.Join(base, "outside")}
	for _, dir := range []string{j.dir, j.outside} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if j.root, err = os.Open(j.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.root.Close() })
	return j
}

func (j *jail) write(name, content string, mode fs.FileMode) {
	j.Helper()
	path := filepath.Join(j.dir, name)
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode))
	if err != nil {
		j.Fatal(err)
	}
}

func (j *jail) link(target, name string) {
	j.Helper()
	if err := os.Symlink(target, filepath.Join(j.dir, name)); err != nil {
		j.Fatal(err)
	}
}

func (j *jail) read(name string) (archive []byte, skipped []string, err error) {
	var b bytes.Buffer
	err = rootfs.Read(context.Background(), j.root, name, &b, func(why string) { skipped = append(skipped, why) })
	return b.Bytes(), skipped, err
}

func (j *jail) unpack(name string, archive []byte) error {
	return rootfs.Write(context.Background(), j.root, name, bytes.NewReader(archive), rootfs.Owner{UID: os.Getuid(), GID: os.Getgid()})
}

// listing says what is in a directory: names, modes and contents.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%s %s", rel, info.Mode())
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", content)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %s", target)
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// archiveOf makes an archive; a nil content is a directory, one that begins with "->" a link.
func archiveOf(t testing.TB, entries ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e[0], Mode: 0o644, Size: int64(len(e[1])), Typeflag: tar.TypeReg}
		if target, ok := strings.CutPrefix(e[1], "->"); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		} else if strings.HasSuffix(e[0], "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, e[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCopy(t *testing.T) {
	from, to := newJail(t), newJail(t)
	from.write("srv/site/index.html", "<h1>", 0o640)
	from.write("srv/site/bin/run", "#!", 0o755)
	from.write("srv/site/none", "", 0o400)
	from.link("/etc/passwd", "srv/site/link")
	from.link("/srv/site", "current")
	if err := errors.Join(syscall.Mkfifo(filepath.Join(from.dir, "srv/site/pipe"), 0o600), os.Chmod(filepath.Join(from.dir, "srv/site/bin"), 0o500)); err != nil {
		t.Fatal(err)
	}
	archive, skipped, err := from.read("/current")
	if err != nil || len(skipped) != 1 || !strings.Contains(skipped[0], "current/pipe") {
		t.Fatalf("skipped %q, %v", skipped, err)
	}
	if err := to.unpack("/", archive); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(listing(t, filepath.Join(from.dir, "srv/site")), "pipe prw-------\n", "")
	if got := listing(t, filepath.Join(to.dir, "current")); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	// Again, as another name, and over what is there.
	for range 2 {
		if err := to.unpack("/other", archive); err != nil && !strings.Contains(err.Error(), "permission") {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(to.dir, "other/current")); err != nil {
		t.Error("the second time the target is a directory, into which the copy goes:", err)
	}
}

// TestReadStaysInside follows links as if the directory were the root.
func TestReadStaysInside(t *testing.T) {
	j := newJail(t)
	if err := os.WriteFile(filepath.Join(j.outside, "secret"), []byte("CONFIDENTIAL"), 0o600); err != nil {
		t.Fatal(err)
	}
	j.link(j.outside, "absolute")
	j.link("../outside", "relative")
	j.link("absolute/secret", "chain")
	for _, name := range []string{"/absolute/secret", "/relative/secret", "/chain", "/../outside/secret", "/absolute", "/relative/.."} {
		if archive, _, _ := j.read(name); bytes.Contains(archive, []byte("CONFIDENTIAL")) {
			t.Errorf("%s leads out", name)
		}
	}
	if archive, _, err := j.read("/"); err != nil || bytes.Contains(archive, []byte("CONFIDENTIAL")) {
		t.Errorf("the whole: %v", err)
	}
	if _, _, err := j.read("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

// TestHostileArchives writes archives that would lead out.
func TestHostileArchives(t *testing.T) {
	for name, entries := range map[string][][2]string{
		"absolute":      {{"/etc/x", "x"}},
		"dots":          {{"a/../../x", "x"}},
		"only dots":     {{"..", "x"}},
		"through":       {{"a/", ""}, {"a/b", "->../../outside"}, {"a/b/x", "x"}},
		"through root":  {{"a", "->/"}, {"a/x", "x"}},
		"over a link":   {{"a/", ""}, {"a/b", "->../victim"}, {"a/b", "x"}},
		"two":           {{"a", "x"}, {"b", "x"}},
		"none":          {},
		"directory for": {{"file/", ""}, {"file/x", "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJail(t)
			j.write("victim", "as it was", 0o644)
			j.write("file", "as it was", 0o644)
			if err := j.unpack("/", archiveOf(t, entries...)); err == nil {
				t.Error("it was unpacked")
			}
			if got := listing(t, j.outside); strings.Count(got, "\n") != 1 {
				t.Errorf("outside is:\n%s", got)
			}
			for _, file := range []string{"victim", "file"} {
				if got, err := os.ReadFile(filepath.Join(j.dir, file)); err != nil || string(got) != "as it was" {
					t.Errorf("%s is %q, %v", file, got, err)
				}
			}
		})
	}
}

// TestSpecialsInTheWay does not open what would block or do something.
func TestSpecialsInTheWay(t *testing.T) {
	j := newJail(t)
	if err := syscall.Mkfifo(filepath.Join(j.dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.unpack("/pipe", archiveOf(t, [2]string{"x", "x"})); err == nil {
		t.Error("a pipe was written to")
	}
	if err := j.unpack("/none/x", archiveOf(t, [2]string{"x", "x"})); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := j.unpack("/none/", archiveOf(t, [2]string{"x", "x"})); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a directory that is not there: %v", err)
	}
	if _, _, err := j.read("/pipe"); err != nil {
		t.Error(err)
	}
}

// TestRaces swaps a directory for a link that leads out while files are written below it.
func TestRaces(t *testing.T) {
	j := newJail(t)
	inside := filepath.Join(j.dir, "a", "b")
	var swapping sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	swapping.Go(func() {
		for ctx.Err() == nil {
			_ = os.Rename(inside, inside+".aside")
			_ = os.Symlink(j.outside, inside)
			_ = os.Remove(inside)
			_ = os.Rename(inside+".aside", inside)
		}
	})
	archive := archiveOf(t, [2]string{"a/", ""}, [2]string{"a/b/", ""}, [2]string{"a/b/x", "x"})
	for range 300 {
		_ = j.unpack("/", archive)
		_, _, _ = j.read("/a")
	}
	stop()
	swapping.Wait()
	if got := listing(t, j.outside); strings.Count(got, "\n") != 1 {
		t.Errorf("outside is:\n%s", got)
	}
}

// TestAnyArchive unpacks archives of random names and links: nothing outside ever changes.
func TestAnyArchive(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "..", ".", "/", "outside", "root"})
	name := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "parts"), "/") })
	rapid.Check(t, func(r *rapid.T) {
		j := newJail(t)
		var entries [][2]string
		for range rapid.IntRange(1, 6).Draw(r, "entries") {
			kind := rapid.SampledFrom([]string{"x", "/", "->"}).Draw(r, "kind")
			n := name.Draw(r, "name")
			switch kind {
			case "/":
				entries = append(entries, [2]string{n + "/", ""})
			case "->":
				entries = append(entries, [2]string{n, "->" + name.Draw(r, "target")})
			default:
				entries = append(entries, [2]string{n, "x"})
			}
		}
		_ = j.unpack("/"+name.Draw(r, "into"), archiveOf(t, slices.DeleteFunc(entries, func(e [2]string) bool { return e[0] == "" })...))
		if got := listing(t, j.outside); strings.Count(got, "\n") != 1 {
			r.Errorf("outside is:\n%s", got)
		}
	})
}
