package history

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headway.dev/headway/sync/internal/gittest"
	"headway.dev/headway/sync/mirror"
)

func snapshot(t testing.TB, r *gittest.Repo, rev, path string) *mirror.Snapshot {
	t.Helper()
	l, err := mirror.OpenLocal(r.Dir, path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.At(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// show prints a log as one line a commit: subject, then the files.
func show(entries []Entry) string {
	var lines []string
	for _, e := range entries {
		line := e.Subject + ":"
		for _, c := range e.Files {
			line += fmt.Sprintf(" %s %s,", c.Kind, c.Path)
		}
		lines = append(lines, strings.TrimRight(line, ",:"))
	}
	return strings.Join(lines, "\n")
}

func wantLog(t *testing.T, s *mirror.Snapshot, limit int, want ...string) []Entry {
	t.Helper()
	log, err := Log(t.Context(), s, limit)
	if err != nil {
		t.Fatal(err)
	}
	if got := show(log); got != strings.Join(want, "\n") {
		t.Errorf("the log of %s is\n%s\nwant\n%s", s.Path(), got, strings.Join(want, "\n"))
	}
	return log
}

func TestLog(t *testing.T) {
	r := gittest.Init(t)
	r.Write("shop/a.yaml", "1")
	r.Write("shop/sub/b.yaml", "1")
	r.Write("other/x", "1")
	r.Commit("first")
	r.CommitFile("shop/a.yaml", "2")
	r.CommitFile("other/x", "2")
	r.Commit("empty, to approve")
	r.Git("checkout", "-q", "-b", "side")
	r.Write("shop/a.yaml", "3")
	r.Git("rm", "-q", "shop/sub/b.yaml")
	r.Commit("on the side")
	r.CommitFile("shop/new.yaml", "1")
	r.Git("checkout", "-q", "main")
	r.Git("merge", "-q", "--no-ff", "-m", "merge side", "side")
	r.Git("revert", "--no-edit", "-m", "1", "HEAD")
	reverted := r.Git("rev-parse", "HEAD~1")

	log := wantLog(t, snapshot(t, r, "HEAD", "shop"), 0,
		`Revert "merge side": modified a.yaml, deleted new.yaml, added sub/b.yaml`,
		"merge side: modified a.yaml, added new.yaml, deleted sub/b.yaml",
		"empty, to approve",
		"Change shop/a.yaml: modified a.yaml",
		"first: added a.yaml, added sub/b.yaml",
	)
	if log[0].Reverts != "" {
		// Of a merge, git writes "This reverts commit X, reversing changes made to Y."
		if log[0].Reverts != reverted {
			t.Errorf("it reverts %s, want %s", log[0].Reverts, reverted)
		}
	} else {
		t.Error("the revert is not seen")
	}
	if e := log[4]; e.Revision.Author != gittest.Author || e.Revision.Branch != "main" || e.Revision.Commit != r.Git("rev-parse", "HEAD~5") {
		t.Errorf("the first entry is %+v", e.Revision)
	}
	wantLog(t, snapshot(t, r, "HEAD", ""), 2,
		`Revert "merge side": modified shop/a.yaml, deleted shop/new.yaml, added shop/sub/b.yaml`,
		"merge side: modified shop/a.yaml, added shop/new.yaml, deleted shop/sub/b.yaml",
	)
	wantLog(t, snapshot(t, r, "HEAD", "other"), 0,
		"empty, to approve",
		"Change other/x: modified x",
		"first: added x",
	)
}

func TestLogWhereTheDirectoryCameAndWent(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("x", "1")
	r.CommitFile("shop/a", "1")
	r.Git("rm", "-q", "-r", "shop")
	r.Commit("remove")
	r.CommitFile("shop", "a file")
	r.Git("rm", "-q", "shop")
	r.CommitFile("shop/a", "2")
	wantLog(t, snapshot(t, r, "HEAD", "shop"), 0,
		"Change shop/a: added a",
		"remove: deleted a",
		"Change shop/a: added a",
	)
}

func TestChangesOfEveryKind(t *testing.T) {
	r := gittest.Init(t)
	for _, path := range []string{"same", "content", "mode", "gone", "dir/a", "dir/b", "file", "a.b", "a/c", "a-d"} {
		r.Write(path, path)
	}
	r.Commit("before")
	r.Write("content", "other")
	r.Git("rm", "-q", "gone", "file", "dir/a", "dir/b")
	r.Write("dir", "now a file")
	r.Write("file/now", "in a directory")
	r.Write("a/new", "1")
	r.Git("update-index", "--chmod=+x", "mode")
	r.Git("config", "core.filemode", "false")
	r.Commit("after")
	got, err := Changes(snapshot(t, r, "HEAD~1", ""), snapshot(t, r, "HEAD", ""))
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{"a/new", Added},
		{"content", Modified},
		{"dir", Added},
		{"dir/a", Deleted},
		{"dir/b", Deleted},
		{"file", Deleted},
		{"file/now", Added},
		{"gone", Deleted},
		{"mode", Modified},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestLastChange(t *testing.T) {
	r := gittest.Init(t)
	r.Write("shop/a", "1")
	r.Write("shop/b", "1")
	first := r.Commit("first")
	r.Git("checkout", "-q", "-b", "side")
	side := r.CommitFile("shop/a", "2")
	r.Git("checkout", "-q", "main")
	r.CommitFile("other", "1")
	r.Git("merge", "-q", "--no-ff", "-m", "merge", "side")
	r.Git("rm", "-q", "shop/b")
	removed := r.Commit("remove")
	r.CommitFile("other", "2")
	s := snapshot(t, r, "HEAD", "shop")
	for path, want := range map[string]string{"a": side, "b": removed, ".": removed} {
		e, err := LastChange(t.Context(), s, path)
		if err != nil || e.Revision.Commit != want {
			t.Errorf("%s: %s, %v, want %s", path, e.Revision.Commit, err, want)
		}
		if want := r.Git("log", "-1", "--format=%H", "--", filepath.Join("shop", path)); e.Revision.Commit != want {
			t.Errorf("%s: %s, git says %s", path, e.Revision.Commit, want)
		}
	}
	if e, err := LastChange(t.Context(), snapshot(t, r, "HEAD~3", "shop"), "b"); err != nil || e.Revision.Commit != first {
		t.Errorf("b, before: %s, %v", e.Revision.Commit, err)
	}
	for _, path := range []string{"never", "../other", "/a", ""} {
		if e, err := LastChange(t.Context(), s, path); err == nil {
			t.Errorf("%q: %s", path, e.Revision.Commit)
		}
	}
	if _, err := LastChange(t.Context(), s, "never"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("never: %v", err)
	}
}
