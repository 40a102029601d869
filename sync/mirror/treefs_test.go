package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"headway.dev/headway/sync/internal/gittest"
	"headway.dev/headway/sync/internal/objects"
)

type hasher interface{ Hash(string) (string, bool) }

func fetch(t testing.TB, o Options) *Snapshot {
	t.Helper()
	s, err := open(t, o).Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFSConforms(t *testing.T) {
	r := gittest.Init(t)
	want := []string{"a.yaml", "dir/b.yaml", "dir/sub/c", "dir.x", "dir-y/d", "empty", "run.sh", "with space/ü"}
	for _, path := range want {
		r.Write(path, "content of "+path)
	}
	r.Write("empty", "")
	if err := os.Chmod(filepath.Join(r.Dir, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.Commit("files")
	s := fetch(t, Options{URL: r.Dir})
	if err := fstest.TestFS(s.FS(), want...); err != nil {
		t.Error(err)
	}
	info, err := fs.Stat(s.FS(), "run.sh")
	if err != nil || info.Mode() != 0o555 || !info.ModTime().Equal(gittest.Epoch) || info.Size() != int64(len("content of run.sh")) {
		t.Errorf("run.sh: %v, %v", info, err)
	}
	if err := fstest.TestFS(fetch(t, Options{URL: r.Dir, Path: "dir"}).FS(), "b.yaml", "sub/c"); err != nil {
		t.Error(err)
	}
}

func TestHashNamesContent(t *testing.T) {
	r := gittest.Init(t)
	r.Write("a/x", "same")
	r.Write("b/x", "same")
	r.Write("c/x", "other")
	r.Commit("files")
	files := fetch(t, Options{URL: r.Dir}).FS().(hasher)
	hash := func(path string) string {
		h, ok := files.Hash(path)
		if !ok {
			t.Fatalf("%s has no hash", path)
		}
		return h
	}
	if hash("a") != hash("b") || hash("a/x") != hash("b/x") || hash("a") == hash("c") || hash(".") == hash("a") {
		t.Error("hashes are not equal where content is, or equal where it is not")
	}
	if got := r.Git("rev-parse", "HEAD:a/x"); got != hash("a/x") {
		t.Errorf("the hash is %s, git's is %s", hash("a/x"), got)
	}
	for _, path := range []string{"nothing", "a/x/y", "../a", "/a", ""} {
		if h, ok := files.Hash(path); ok {
			t.Errorf("%q has the hash %s", path, h)
		}
	}
	sub, err := fs.Sub(files.(fs.FS), "c")
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := sub.(hasher).Hash("x"); !ok || h != hash("c/x") {
		t.Error("a sub file system has lost its hashes")
	}
}

func TestLinksAreListedAndNotFollowed(t *testing.T) {
	r := gittest.Init(t)
	r.Write("dir/a.yaml", "one")
	for name, to := range map[string]string{"link": "dir/a.yaml", "dirlink": "dir", "out": "/etc/passwd", "up": "../../../etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(r.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.Git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",module")
	r.Git("add", "dir", "link", "dirlink", "out", "up")
	r.Git("commit", "-q", "-m", "links")
	files := fetch(t, Options{URL: r.Dir}).FS()
	for name, mode := range map[string]fs.FileMode{"link": fs.ModeSymlink, "dirlink": fs.ModeSymlink, "out": fs.ModeSymlink, "up": fs.ModeSymlink, "module": fs.ModeIrregular} {
		info, err := fs.Stat(files, name)
		if err != nil || info.Mode().Type() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if _, err := files.Open(name); !errors.Is(err, ErrNotFollowed) {
			t.Errorf("open %s: %v", name, err)
		}
		if _, err := fs.ReadFile(files, name); !errors.Is(err, ErrNotFollowed) {
			t.Errorf("read %s: %v", name, err)
		}
		if _, err := fs.ReadDir(files, name); err == nil {
			t.Errorf("%s was listed", name)
		}
		if _, ok := files.(hasher).Hash(name); ok {
			t.Errorf("%s has a hash", name)
		}
	}
	if _, err := fs.ReadFile(files, "dirlink/a.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was read through a symbolic link: %v", err)
	}
	var seen []string
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		seen = append(seen, path+" "+d.Type().String())
		return err
	})
	if err != nil || len(seen) != 8 {
		t.Errorf("the walk saw %q, %v", seen, err)
	}
}

func TestPathsThatEscapeAreRefused(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("a/b", "one")
	files := fetch(t, Options{URL: r.Dir, Path: "a"}).FS()
	for _, path := range []string{"..", "../a/b", "/a/b", "a/../b", "./b", "b/", "", `..\a`} {
		if _, err := files.Open(path); err == nil {
			t.Errorf("%q was opened", path)
		}
		if _, err := fs.Stat(files, path); err == nil {
			t.Errorf("%q was described", path)
		}
	}
}

// TestHostileTrees reads trees that git itself would not write.
func TestHostileTrees(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("a.yaml", "one")
	m := open(t, Options{URL: r.Dir})
	if _, err := m.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	blob, err := m.store.Put(plumbing.BlobObject, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tree := range map[string][]byte{
		"..":        objects.EncodeTree([]objects.Entry{{Name: "..", Mode: filemode.Regular, Hash: blob}}),
		"slash":     objects.EncodeTree([]objects.Entry{{Name: "a/b", Mode: filemode.Regular, Hash: blob}}),
		"empty":     objects.EncodeTree([]objects.Entry{{Name: "", Mode: filemode.Regular, Hash: blob}}),
		"twice":     objects.EncodeTree([]objects.Entry{{Name: "a", Mode: filemode.Regular, Hash: blob}, {Name: "a", Mode: filemode.Regular, Hash: blob}}),
		"mode":      objects.EncodeTree([]objects.Entry{{Name: "a", Mode: 0o777777, Hash: blob}}),
		"truncated": []byte("100644 a\x00short"),
	} {
		t.Run(name, func(t *testing.T) {
			root, err := m.store.Put(plumbing.TreeObject, tree)
			if err != nil {
				t.Fatal(err)
			}
			commit, err := m.store.Put(plumbing.CommitObject, fmt.Appendf(nil, "tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nhostile\n", root))
			if err != nil {
				t.Fatal(err)
			}
			if s, err := m.At(t.Context(), commit.String()); err == nil {
				t.Errorf("it was taken: %+v", s)
			}
		})
	}
}

func TestConcurrentReaders(t *testing.T) {
	r := gittest.Init(t)
	for i := range 200 {
		r.Write(fmt.Sprintf("d%d/f%d", i%10, i), fmt.Sprint(i))
	}
	r.Commit("files")
	m := open(t, Options{URL: r.Dir})
	f := follow(t, m)
	s := f.next().Snapshot
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			err := fs.WalkDir(s.FS(), ".", func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					_, err = fs.ReadFile(s.FS(), path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 5 {
		r.CommitFile("changing", fmt.Sprint(i))
		f.next()
	}
	readers.Wait()
}

func TestParentsUpToTheRoot(t *testing.T) {
	r := gittest.Init(t)
	want := []string{r.CommitFile("a", "1"), r.CommitFile("a", "2"), r.CommitFile("a", "3")}
	s := fetch(t, Options{URL: r.Dir})
	for i := len(want) - 1; ; i-- {
		if s.Revision.Commit != want[i] {
			t.Fatalf("got %s, want %s", s.Revision.Commit, want[i])
		}
		parent, err := s.Parent(t.Context())
		if i == 0 {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the parent of the root: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		s = parent
	}
}

func TestAt(t *testing.T) {
	r := gittest.Init(t)
	first := r.CommitFile("a", "1")
	r.Git("tag", "v1")
	r.Git("tag", "-a", "-m", "annotated", "v1-annotated")
	second := r.CommitFile("a", "2")
	r.Git("checkout", "-q", "-b", "side", first)
	side := r.CommitFile("b", "side")
	r.Git("checkout", "-q", "main")
	r.Git("merge", "-q", "--no-ff", "-m", "merge", "side")
	merge := r.Head()
	cases := []struct{ rev, commit, branch string }{
		{"HEAD", merge, "main"},
		{"@", merge, "main"},
		{"main", merge, "main"},
		{"refs/heads/main", merge, "main"},
		{"heads/main", merge, "main"},
		{"HEAD~1", second, ""},
		{"HEAD^", second, ""},
		{"HEAD^2", side, ""},
		{"main^2~1", first, ""},
		{"main~2", first, ""},
		{"main^0", merge, "main"},
		{"main^{commit}", merge, "main"},
		{"v1", first, "v1"},
		{"v1-annotated", first, "v1-annotated"},
		{"v1-annotated^{}", first, "v1-annotated"},
		{"side", side, "side"},
		{"side~1", first, ""},
		{first, first, ""},
		{first[:8], first, ""},
		{strings.ToUpper(side[:7]), side, ""},
		{side[:9] + "~1", first, ""},
	}
	missing := []string{
		"nothing", "v2", "HEAD~9", "HEAD^3", "main^2^2", strings.Repeat("0", 40), "deadbeef", "",
		"HEAD@{1}", "HEAD:a", ":/merge", "main..side", "a b", "HEAD~99999999999999999999",
	}
	local, err := OpenLocal(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, Options{URL: r.Dir})
	for name, at := range map[string]func(string) (*Snapshot, error){
		"mirror": func(rev string) (*Snapshot, error) { return m.At(t.Context(), rev) },
		"local":  func(rev string) (*Snapshot, error) { return local.At(t.Context(), rev) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range cases {
				s, err := at(c.rev)
				if err != nil {
					t.Errorf("%s: %v", c.rev, err)
				} else if s.Revision.Commit != c.commit || s.Revision.Branch != c.branch {
					t.Errorf("%s is %s of %q, want %s of %q", c.rev, s.Revision.Commit, s.Revision.Branch, c.commit, c.branch)
				}
			}
			for _, rev := range missing {
				if s, err := at(rev); err == nil {
					t.Errorf("%q is %s", rev, s.Revision.Commit)
				}
			}
		})
	}
	// None of these made the mirror think that its copy is damaged.
	if m.store.Damaged() {
		t.Error("a revision that is not there was taken for damage")
	}
}

func TestAtWithoutTheSource(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("a", "1")
	r.Git("branch", "side")
	m := open(t, Options{URL: r.Dir})
	for _, rev := range []string{"main", "side"} {
		if _, err := m.At(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(r.Dir, r.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	for _, rev := range []string{"main", "side"} {
		if _, err := m.At(t.Context(), rev); err != nil {
			t.Errorf("%s: %v", rev, err)
		}
	}
	var e *Error
	if _, err := m.At(t.Context(), "other"); !errors.As(err, &e) || e.Problem != NoRepo {
		t.Errorf("got %v", err)
	}
}

func TestOpenLocal(t *testing.T) {
	r := gittest.Init(t)
	r.Write("deploy/a.yaml", "one")
	r.Commit("first")
	linked := filepath.Join(t.TempDir(), "linked")
	r.Git("worktree", "add", "-q", "-b", "feature", linked)
	in := gittest.At(t, linked).CommitFile("deploy/a.yaml", "two")
	bare := filepath.Join(t.TempDir(), "bare.git")
	r.Git("clone", "-q", "--bare", r.Dir, bare)
	for path, want := range map[string]string{r.Dir: "one", filepath.Join(r.Dir, "deploy"): "one", linked: "two", filepath.Join(linked, "deploy"): "two", bare: "one"} {
		l, err := OpenLocal(path, "deploy")
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.At(t.Context(), "HEAD")
		if err != nil || read(t, s, "a.yaml") != want {
			t.Errorf("%s: %v, %v", path, s, err)
		}
		if !strings.HasPrefix(path, l.Root()) {
			t.Errorf("%s has the root %s", path, l.Root())
		}
	}
	l, err := OpenLocal(r.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	// git repacks under the open reader.
	r.Git("gc", "-q", "--prune=now")
	if s, err := l.At(t.Context(), in); err != nil || read(t, s, "deploy/a.yaml") != "two" {
		t.Errorf("after gc: %v", err)
	}
	if _, err := OpenLocal(t.TempDir(), ""); !errors.Is(err, objects.ErrNoRepository) {
		t.Errorf("no repository: %v", err)
	}
	if _, err := OpenLocal(r.Dir, "../x"); err == nil {
		t.Error("a path out of the repository was taken")
	}
}

// TestUnreadableForms checks that a repository in a form that cannot be read is told as such.
func TestUnreadableForms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sha256")
	if out, err := exec.Command("git", "init", "-q", "--object-format=sha256", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, err := open(t, Options{URL: dir}).Fetch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("got %v", err)
	}
}
