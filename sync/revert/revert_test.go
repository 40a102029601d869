package revert

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/sync/history"
	"headway.dev/headway/sync/internal/gittest"
	"headway.dev/headway/sync/mirror"
)

var ada = Person{Name: "Ada", Email: "ada@example.org"}

func options(url string) Options {
	return Options{URL: url, Author: ada, Time: time.Date(2025, 5, 5, 5, 5, 5, 0, time.UTC)}
}

// isolate keeps the git that the package runs from the configuration of whoever runs the test.
func isolate(t *testing.T) {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_SYSTEM", os.DevNull)
}

func to(t *testing.T, o Options, target string) api.Revision {
	t.Helper()
	made, err := To(t.Context(), o, target)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// shop makes a repository with three versions of shop/ and a file beside it.
func shop(t *testing.T) (r *gittest.Repo, commits []string) {
	t.Helper()
	isolate(t)
	r = gittest.Init(t)
	r.Write("shop/a.yaml", "1")
	r.Write("shop/sub/b.yaml", "1")
	r.Write("other.txt", "1")
	commits = append(commits, r.Commit("First version"))
	r.Write("shop/a.yaml", "2")
	r.Git("rm", "-q", "shop/sub/b.yaml")
	r.Write("other.txt", "2")
	commits = append(commits, r.Commit("Second version"))
	return r, append(commits, r.CommitFile("shop/c.yaml", "3"))
}

func wantClean(t *testing.T, r *gittest.Repo) {
	t.Helper()
	if got := r.Git("status", "--porcelain"); got != "" {
		t.Errorf("git status says:\n%s", got)
	}
	r.Git("fsck", "--strict", "--no-dangling")
}

func TestWorkingCopy(t *testing.T) {
	r, commits := shop(t)
	o := options(r.Dir)
	o.Path = "shop"
	o.Message = "The second one lost orders.\n\nHeadway-Approve: prune shop/c"
	made := to(t, o, "HEAD~2")
	if made.Commit != r.Head() || made.Branch != "main" || made.Author != gittest.Author || !made.Time.Equal(o.Time) {
		t.Errorf("made %+v, the head is %s", made, r.Head())
	}
	wantClean(t, r)
	if got, want := r.Git("rev-parse", "HEAD:shop"), r.Git("rev-parse", commits[0]+":shop"); got != want {
		t.Errorf("shop is %s, want %s", got, want)
	}
	if got := r.Git("show", "HEAD:other.txt"); got != "2" {
		t.Errorf("other.txt, which is not part of it, is %q", got)
	}
	if got := r.Git("rev-parse", "HEAD^"); got != commits[2] {
		t.Errorf("the parent is %s", got)
	}
	want := "Revert to " + commits[0][:8] + " (First version)\n\nThe second one lost orders.\n\nHeadway-Approve: prune shop/c\n" +
		"Headway-Rollback-To: " + commits[0] + "\nHeadway-Rollback-From: " + commits[2] + "\n"
	if made.Message != want {
		t.Errorf("the message is\n%s\nwant\n%s", made.Message, want)
	}
	for path, want := range map[string]string{"shop/a.yaml": "1", "shop/sub/b.yaml": "1", "other.txt": "2"} {
		if got, err := os.ReadFile(filepath.Join(r.Dir, filepath.FromSlash(path))); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", path, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "shop", "c.yaml")); err == nil {
		t.Error("shop/c.yaml is still there")
	}
	if got := r.Git("reflog", "-1", "--format=%H"); got != made.Commit {
		t.Errorf("git's log of the branch does not know it: %s", got)
	}

	l, err := mirror.OpenLocal(r.Dir, "shop")
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.At(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	log, err := history.Log(t.Context(), s, 1)
	if err != nil || log[0].RollbackTo != commits[0] || log[0].RollbackFrom != commits[2] {
		t.Errorf("history shows %+v, %v", log, err)
	}

	// The rollback is itself taken back.
	again := to(t, o, "HEAD~1")
	if got, want := r.Git("rev-parse", "HEAD^{tree}"), r.Git("rev-parse", commits[2]+"^{tree}"); got != want || again.Commit != r.Head() {
		t.Errorf("the tree is %s, want %s", got, want)
	}
	wantClean(t, r)
}

func TestNothingToRollBack(t *testing.T) {
	r, commits := shop(t)
	o := options(r.Dir)
	o.Path = "shop/sub"
	r.CommitFile("shop/sub/b.yaml", "1")
	for _, target := range []string{"HEAD", commits[0]} {
		if _, err := To(t.Context(), o, target); !errors.Is(err, ErrNothing) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestWholeRepositoryAndMissingDirectory(t *testing.T) {
	r, commits := shop(t)
	to(t, options(r.Dir), commits[0])
	if got, want := r.Git("rev-parse", "HEAD^{tree}"), r.Git("rev-parse", commits[0]+"^{tree}"); got != want {
		t.Errorf("the tree is %s, want %s", got, want)
	}
	// A directory that is gone, with those above it, is brought back.
	r.Git("rm", "-q", "-r", "shop")
	r.Commit("remove")
	o := options(r.Dir)
	o.Path = "shop/sub"
	to(t, o, commits[0])
	if got := r.Git("ls-tree", "-r", "--name-only", "HEAD"); got != "other.txt\nshop/sub/b.yaml" {
		t.Errorf("the files are %q", got)
	}
	wantClean(t, r)
	o.Path = "never"
	if _, err := To(t.Context(), o, commits[0]); err == nil || !strings.Contains(err.Error(), "never") {
		t.Errorf("a directory that the target does not have: %v", err)
	}
}

func TestDirtyWorkingCopyIsLeftAlone(t *testing.T) {
	r, commits := shop(t)
	r.Write("untracked", "x")
	r.Write("other.txt", "not committed")
	if _, err := To(t.Context(), options(r.Dir), commits[0]); !errors.Is(err, ErrDirty) || !strings.Contains(err.Error(), "other.txt") {
		t.Errorf("got %v", err)
	}
	if r.Head() != commits[2] {
		t.Error("the branch has moved")
	}
	r.Git("checkout", "-q", "other.txt")
	// A file that git does not know is no hindrance, and is kept.
	to(t, options(r.Dir), commits[0])
	if got := r.Git("status", "--porcelain"); got != "?? untracked" {
		t.Errorf("git status says %q", got)
	}
}

func TestBranchThatIsNotCheckedOut(t *testing.T) {
	r, commits := shop(t)
	r.Git("branch", "prod")
	r.Git("pack-refs", "--all")
	r.Write("other.txt", "not committed")
	o := options(r.Dir)
	o.Ref = "prod"
	made := to(t, o, commits[0])
	if got := r.Git("rev-parse", "prod"); got != made.Commit || r.Head() != commits[2] {
		t.Errorf("prod is at %s, main at %s", got, r.Head())
	}
	if got := r.Git("status", "--porcelain"); got != "M other.txt" {
		t.Errorf("git status says %q", got)
	}
}

func TestBranchInALinkedWorktree(t *testing.T) {
	r, commits := shop(t)
	linked := filepath.Join(t.TempDir(), "linked")
	r.Git("worktree", "add", "-q", "-b", "prod", linked)
	w := gittest.At(t, linked)
	// Called from the main working copy, it finds the one that has the branch, and the other way round.
	for _, c := range []struct {
		dir, ref string
		in       *gittest.Repo
	}{{r.Dir, "prod", w}, {linked, "main", r}, {linked, "", w}, {filepath.Join(r.Dir, ".git"), "main", r}} {
		o := options(c.dir)
		o.Ref = c.ref
		target := commits[0]
		if c.in.Git("rev-parse", "HEAD^{tree}") == c.in.Git("rev-parse", commits[0]+"^{tree}") {
			target = commits[1]
		}
		made := to(t, o, target)
		if made.Commit != c.in.Head() {
			t.Errorf("%+v: the head is %s", c, c.in.Head())
		}
		wantClean(t, c.in)
	}
}

func TestBareRepository(t *testing.T) {
	r, commits := shop(t)
	bare := gittest.InitBare(t)
	r.Git("push", "-q", bare.Dir, "main")
	made := to(t, options(bare.Dir), commits[1][:8])
	if got := bare.Git("rev-parse", "main"); got != made.Commit {
		t.Errorf("main is at %s", got)
	}
	bare.Git("fsck", "--strict", "--no-dangling")
	// Somebody else is just changing the branch.
	lock := filepath.Join(bare.Dir, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := To(t.Context(), options(bare.Dir), commits[0]); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), "main.lock") {
		t.Errorf("got %v", err)
	}
}

func TestRefusals(t *testing.T) {
	r, commits := shop(t)
	r.Git("tag", "v1")
	for name, change := range map[string]func(*Options){
		"no author":     func(o *Options) { o.Author = Person{} },
		"forged author": func(o *Options) { o.Author.Name = "Ada <a@b> 0 +0000\nx" },
		"no time":       func(o *Options) { o.Time = time.Time{} },
		"path upwards":  func(o *Options) { o.Path = "../x" },
		"tag":           func(o *Options) { o.Ref = "refs/tags/v1" },
		"no branch":     func(o *Options) { o.Ref = "nothing" },
		"strange ref":   func(o *Options) { o.Ref = "refs/heads/../../x" },
		"no repository": func(o *Options) { o.URL = t.TempDir() },
	} {
		o := options(r.Dir)
		change(&o)
		if made, err := To(t.Context(), o, commits[0]); err == nil {
			t.Errorf("%s: made %+v", name, made)
		}
	}
	if _, err := To(t.Context(), options(r.Dir), "nothing"); err == nil {
		t.Error("a target that is not there was taken")
	}
	r.Git("checkout", "-q", "--detach")
	if _, err := To(t.Context(), options(r.Dir), commits[0]); err == nil || !strings.Contains(err.Error(), "name the branch") {
		t.Errorf("detached HEAD: %v", err)
	}
}
