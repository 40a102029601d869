package objects

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"pgregory.net/rapid"

	"headway.dev/headway/sync/internal/gittest"
)

func create(t testing.TB) *Store {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func foreign(t testing.TB, r *gittest.Repo) *Store {
	t.Helper()
	layout, err := Locate(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := layout.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var anyTree = rapid.Custom(func(t *rapid.T) []Entry {
	entries := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) Entry {
		var h Hash
		copy(h[:], rapid.SliceOfN(rapid.Byte(), hashSize, hashSize).Draw(t, "hash"))
		return Entry{
			Name: rapid.StringMatching(`[a-c.\-_][a-c.\-_0]{0,3}x`).Draw(t, "name"),
			Mode: rapid.SampledFrom([]filemode.FileMode{filemode.Regular, filemode.Executable, filemode.Dir, filemode.Symlink, filemode.Submodule}).Draw(t, "mode"),
			Hash: h,
		}
	}), func(e Entry) string { return e.Name }).Draw(t, "entries")
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return entries
})

func TestTreeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := anyTree.Draw(t, "tree")
		tree, err := decodeTree(EncodeTree(entries))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tree.Entries, entries) {
			t.Fatalf("got %v, want %v", tree.Entries, entries)
		}
		for _, e := range entries {
			if got, ok := tree.Entry(e.Name); !ok || got != e {
				t.Errorf("%q is %v", e.Name, got)
			}
		}
		if e, ok := tree.Entry("not there"); ok {
			t.Errorf("found %v", e)
		}
	})
}

// TestTreesAreGits checks that git agrees on the order of the entries.
func TestTreesAreGits(t *testing.T) {
	r := gittest.Init(t)
	for _, path := range []string{"a/x", "a.b", "a-b", "a0", "ab/x", "z"} {
		r.Write(path, path)
	}
	r.Commit("files")
	s := foreign(t, r)
	root := plumbing.NewHash(r.Git("rev-parse", "HEAD^{tree}"))
	tree, err := s.Tree(root)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Put(plumbing.TreeObject, EncodeTree(tree.Entries)); err != nil || got != root {
		t.Errorf("encoded again it is %s, %v, want %s", got, err, root)
	}
	if mkdir, err := s.Graft(root, "new/dir", tree.Entries[0]); err != nil {
		t.Error(err)
	} else if got := r.Git("ls-tree", "-r", "--name-only", mkdir.String(), "new"); got != "new/dir" && got != "new/dir/x" {
		t.Errorf("git sees %q", got)
	}
}

func FuzzDecodeTree(f *testing.F) {
	f.Add(EncodeTree([]Entry{{Name: "a", Mode: filemode.Regular}, {Name: "b", Mode: filemode.Dir}}))
	f.Add([]byte("100644 ..\x0012345678901234567890"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := decodeTree(data)
		if err != nil {
			return
		}
		for _, e := range tree.Entries {
			if !fs.ValidPath(e.Name) || e.Name == "." || strings.Contains(e.Name, "/") {
				t.Errorf("the name %q was taken", e.Name)
			}
		}
		again, err := decodeTree(EncodeTree(tree.Entries))
		if err != nil || !slices.Equal(again.Entries, tree.Entries) {
			t.Errorf("encoded and decoded again: %v, %v", again, err)
		}
	})
}

func FuzzParseRevision(f *testing.F) {
	for _, s := range []string{"HEAD~2^2", "@", "main^{commit}", "v1.0^{}", "a@{1}", "~", "x~99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rev, err := ParseRevision(s)
		if err != nil {
			return
		}
		if rev.Base == "" || strings.ContainsAny(rev.Base, "~^@:\x00") || strings.Contains(rev.Base, "..") {
			t.Errorf("%q has the base %q", s, rev.Base)
		}
		for _, step := range rev.Steps {
			if step.Parent < 1 || step.Times < 0 {
				t.Errorf("%q has the step %+v", s, step)
			}
		}
	})
}

func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{"": ".", ".": ".", "./": ".", "a": "a", "a/b/": "a/b", "./a//b": "a/b"} {
		if got, err := CleanPath(in); err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"..", "../a", "a/..", "a/../b", "/", "/a", `a\b`, "a\x00b", "\xff"} {
		if got, err := CleanPath(in); err == nil {
			t.Errorf("%q was taken as %q", in, got)
		}
	}
}

// TestCopyIsWholeWhereverItStops interrupts a copy after each object, and goes on with it: at no time is there an object
// without all that it names, and in the end nothing is missing.
func TestCopyIsWholeWhereverItStops(t *testing.T) {
	r := gittest.Init(t)
	r.Write("a/b/c", "1")
	r.Write("x", "1")
	r.Commit("first")
	r.Git("checkout", "-q", "-b", "side")
	r.CommitFile("a/b/d", "1")
	r.Git("checkout", "-q", "main")
	r.CommitFile("x", "2")
	r.Git("merge", "-q", "--no-ff", "-m", "merge", "side")
	r.Git("tag", "-a", "-m", "tag", "v1")
	src, root := foreign(t, r), plumbing.NewHash(r.Git("rev-parse", "v1"))
	w := walk{ctx: t.Context(), src: src.sto, has: func(Hash) bool { return false }, seen: map[Hash]bool{}}
	if err := w.history(root); err != nil {
		t.Fatal(err)
	}
	if want := strings.Count(r.Git("rev-list", "--objects", "--all"), "\n") + 1; len(w.order) != want {
		t.Errorf("%d objects were listed, git lists %d", len(w.order), want)
	}
	dst := create(t)
	for i := range w.order {
		if err := dst.copyLoose(t.Context(), src.sto, w.order[:i+1]); err != nil {
			t.Fatal(err)
		}
		// What is there is taken to be whole: prove it for the object that came last.
		if out := gittest.At(t, dst.dir).Git("fsck", "--connectivity-only", "--no-dangling", w.order[i].String()); strings.Contains(out, "missing") {
			t.Fatalf("after %d objects: %s", i+1, out)
		}
	}
	if err := dst.CopyFrom(t.Context(), src, root); err != nil {
		t.Fatal(err)
	}
	gittest.At(t, dst.dir).Git("fsck", "--strict", "--no-dangling", root.String())
}

// TestStreams takes packs as a server sends them, whole and with objects left out.
func TestStreams(t *testing.T) {
	for _, files := range []int{3, looseLimit + 1} {
		t.Run(fmt.Sprint(files, " files"), func(t *testing.T) {
			r := gittest.Init(t)
			for i := range files {
				r.Write(fmt.Sprintf("d/f%d", i), fmt.Sprint(i))
			}
			root := plumbing.NewHash(r.Commit("files"))
			src := foreign(t, r)
			var whole bytes.Buffer
			if err := src.WritePack(t.Context(), &whole, root); err != nil {
				t.Fatal(err)
			}
			// Without the content of one file.
			w := walk{ctx: t.Context(), src: src.sto, has: func(Hash) bool { return false }, seen: map[Hash]bool{}}
			if err := w.history(root); err != nil {
				t.Fatal(err)
			}
			var holed bytes.Buffer
			if err := encodePack(&holed, src.sto, w.order[1:]); err != nil {
				t.Fatal(err)
			}
			dst := create(t)
			if err := dst.AddStream(t.Context(), &holed, root, nil); !errors.Is(err, ErrNotFound) {
				t.Errorf("an incomplete pack: %v", err)
			}
			if dst.Has(root) {
				t.Error("the commit of an incomplete pack was kept")
			}
			for _, cut := range []int{0, 5, 12, whole.Len() / 2, whole.Len() - 1} {
				if err := dst.AddStream(t.Context(), bytes.NewReader(whole.Bytes()[:cut]), root, nil); err == nil {
					t.Errorf("a pack that ends after %d of %d bytes was taken", cut, whole.Len())
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dst.dir, "objects", "pack", "*")); len(left) > 0 {
				t.Errorf("failures left %q", left)
			}
			if err := dst.AddStream(t.Context(), bytes.NewReader(whole.Bytes()), root, nil); err != nil {
				t.Fatal(err)
			}
			gittest.At(t, dst.dir).Git("fsck", "--strict", "--no-dangling", root.String())
		})
	}
}

func TestInterruptedWritesAreClearedAway(t *testing.T) {
	s := create(t)
	for _, name := range []string{"objects/pack/tmp_pack_1", "objects/pack/tmp_idx_1", "objects/pack/tmp_obj_1", "packed-refs.1.tmp"} {
		if err := os.WriteFile(filepath.Join(s.dir, filepath.FromSlash(name)), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenOwn(s.dir); err != nil {
		t.Fatal(err)
	}
	var files []string
	err := filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, d.Name())
		}
		return err
	})
	if err != nil || !slices.Equal(files, []string{"HEAD", "config"}) {
		t.Errorf("left are %q, %v", files, err)
	}
}

func TestRefsDoNotGetInEachOthersWay(t *testing.T) {
	s := create(t)
	h := plumbing.NewHash(strings.Repeat("12", 20))
	for _, name := range []plumbing.ReferenceName{"refs/heads/a", "refs/heads/a/b", "refs/heads/a/b/c"} {
		if err := s.SetRefs(name, map[plumbing.ReferenceName]Hash{name: h}); err != nil {
			t.Fatal(err)
		}
		if ref, err := s.Ref(name); err != nil || ref.Hash() != h {
			t.Errorf("%s is %v, %v", name, ref, err)
		}
	}
	if name, err := s.SymbolicRef("HEAD"); err != nil || name != "refs/heads/a/b/c" {
		t.Errorf("HEAD is %s, %v", name, err)
	}
}
