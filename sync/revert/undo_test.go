package revert

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/sync/history"
	"headway.dev/headway/sync/internal/gittest"
	"headway.dev/headway/sync/remote"
)

// TestUndo takes back a commit from under another, and then finds nothing left to do.
func TestUndo(t *testing.T) {
	r, commits := shop(t)
	o := options(r.Dir)
	o.Message = "Deployment/shop/web never became ready.\n\nHeadway-Reason: CrashLoopBackOff"
	made, err := Undo(t.Context(), o, commits[1])
	if err != nil {
		t.Fatal(err)
	}
	if r.Git("rev-parse", "HEAD") != made.Commit || made.Branch != "main" {
		t.Errorf("made %+v", made)
	}
	for path, want := range map[string]string{"shop/a.yaml": "1", "shop/sub/b.yaml": "1", "shop/c.yaml": "3", "other.txt": "1"} {
		if got := r.Git("show", "HEAD:"+path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	wantClean(t, r)
	want := "Revert \"Second version\"\n\nThis reverts commit " + commits[1] + ".\n\n" +
		"Deployment/shop/web never became ready.\n\nHeadway-Reason: CrashLoopBackOff"
	if got := r.Git("log", "-1", "--format=%B"); got != want {
		t.Errorf("the message is\n%s\nwant\n%s", got, want)
	}
	if got := history.ParseMessage(made.Message).Values("headway-reason"); len(got) != 1 {
		t.Errorf("trailers: %q", got)
	}
	if _, err := Undo(t.Context(), o, commits[1]); !errors.Is(err, ErrNothing) {
		t.Errorf("undone twice: %v", err)
	}
}

// TestUndoConflict leaves alone what later commits have changed again.
func TestUndoConflict(t *testing.T) {
	r, commits := shop(t)
	r.CommitFile("shop/a.yaml", "4")
	head := r.Git("rev-parse", "HEAD")
	_, err := Undo(t.Context(), options(r.Dir), commits[1])
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "shop/a.yaml") {
		t.Errorf("got %v", err)
	}
	if r.Git("rev-parse", "HEAD") != head {
		t.Error("the branch moved")
	}
}

// TestUndoFirst takes back the first commit of all.
func TestUndoFirst(t *testing.T) {
	isolate(t)
	r := gittest.Init(t)
	r.Write("a/b/c.yaml", "1")
	first := r.Commit("First")
	r.CommitFile("d.yaml", "2")
	if _, err := Undo(t.Context(), options(r.Dir), first); err != nil {
		t.Fatal(err)
	}
	if got := r.Git("ls-tree", "-r", "--name-only", "HEAD"); got != "d.yaml" {
		t.Errorf("left are %q", got)
	}
	wantClean(t, r)
}

// TestUndoAsGit compares with git revert over random histories: where git has no conflict in whole files, the trees agree.
func TestUndoAsGit(t *testing.T) {
	isolate(t)
	rapid.Check(t, func(rt *rapid.T) {
		r := gittest.Init(t)
		paths := []string{"a", "b", "d/a", "d/b", "d/e/a"}
		r.Write("kept", "x")
		var commits []string
		for n := range rapid.IntRange(2, 5).Draw(rt, "commits") {
			for _, path := range rapid.SliceOfNDistinct(rapid.SampledFrom(paths), 1, 3, rapid.ID).Draw(rt, "paths") {
				if rapid.Bool().Draw(rt, "remove") {
					r.Git("rm", "-q", "--ignore-unmatch", path)
				} else {
					r.Write(path, fmt.Sprintf("%d of %s", n, path))
				}
			}
			r.Git("add", "-A")
			r.Git("commit", "-q", "--allow-empty", "-m", fmt.Sprint("c", n))
			commits = append(commits, r.Git("rev-parse", "HEAD"))
		}
		bad := rapid.SampledFrom(commits[1:]).Draw(rt, "bad")
		head := r.Git("rev-parse", "HEAD")
		_, err := Undo(t.Context(), options(r.Dir), bad)
		got := r.Git("rev-parse", "HEAD^{tree}")
		r.Git("reset", "-q", "--hard", head)
		cmd := exec.CommandContext(t.Context(), "git", "-C", r.Dir, "revert", "--no-edit", bad)
		cmd.Env = gittest.Env()
		gitErr := cmd.Run()
		switch {
		case errors.Is(err, ErrNothing):
			if gitErr == nil && r.Git("rev-parse", "HEAD^{tree}") != r.Git("rev-parse", head+"^{tree}") {
				rt.Fatal("git found something to take back")
			}
		case errors.Is(err, ErrConflict):
			if gitErr == nil {
				rt.Fatalf("git saw no conflict: %v", err)
			}
		case err != nil:
			rt.Fatal(err)
		case gitErr == nil && got != r.Git("rev-parse", "HEAD^{tree}"):
			rt.Fatal("git made another tree")
		}
	})
}

// TestUndoProposed puts the commit on a branch of its own where the server protects the branch.
func TestUndoProposed(t *testing.T) {
	r, commits := shop(t)
	bare := gittest.InitBare(t)
	r.Git("push", "-q", bare.Dir, "main")
	hook := filepath.Join(bare.Dir, "hooks", "update")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\n[ \"$1\" != refs/heads/main ]\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := options(bare.ServeHTTP(nil))
	o.Auth = login
	if _, err := Undo(t.Context(), o, commits[2]); !errors.Is(err, remote.ErrRejected) {
		t.Errorf("without a branch to propose on: %v", err)
	}
	o.Proposal = "headway/revert"
	for range 2 {
		made, err := Undo(t.Context(), o, commits[2])
		if err != nil || made.Branch != "headway/revert" {
			t.Fatalf("made %+v, %v", made, err)
		}
	}
	if got := bare.Git("rev-parse", "main"); got != commits[2] {
		t.Errorf("main is at %s", got)
	}
	if got := bare.Git("rev-parse", "headway/revert~"); got != commits[2] {
		t.Errorf("what is proposed follows %s", got)
	}
}
