package revert

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"headway.dev/headway/sync/internal/gittest"
	"headway.dev/headway/sync/remote"
)

var login = remote.Auth{Username: gittest.User, Password: gittest.Password}

func TestServers(t *testing.T) {
	for _, scheme := range []string{"http", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			r, commits := shop(t)
			bare := gittest.InitBare(t)
			r.Git("push", "-q", bare.Dir, "main")
			o := options("")
			if scheme == "http" {
				o.URL, o.Auth = bare.ServeHTTP(nil), login
			} else {
				s := bare.ServeSSH()
				o.URL, o.Auth = s.URL, remote.Auth{KeyFile: s.KeyFile, KnownHosts: s.KnownHosts}
			}
			o.Path = "shop"
			made := to(t, o, commits[0][:10])
			if got := bare.Git("rev-parse", "main"); got != made.Commit || made.Branch != "main" {
				t.Errorf("main is at %s, made was %+v", got, made)
			}
			if got, want := bare.Git("rev-parse", "main:shop"), bare.Git("rev-parse", commits[0]+":shop"); got != want {
				t.Errorf("shop is %s, want %s", got, want)
			}
			bare.Git("fsck", "--strict", "--no-dangling")
			if _, err := To(t.Context(), o, commits[0]); !errors.Is(err, ErrNothing) {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// interfering pushes a commit of somebody else's before each of the first pushes that reach the server.
func interfering(t *testing.T, times int64) (o Options, bare *gittest.Repo, commits []string) {
	t.Helper()
	r, commits := shop(t)
	bare = gittest.InitBare(t)
	r.Git("push", "-q", bare.Dir, "main")
	var left atomic.Int64
	left.Store(times)
	o = options(bare.ServeHTTP(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "git-receive-pack") && left.Add(-1) >= 0 {
				r.CommitFile("other.txt", "by another "+r.Head())
				r.Git("push", "-q", bare.Dir, "main")
			}
			next.ServeHTTP(w, req)
		})
	}))
	o.Auth, o.Path = login, "shop"
	return o, bare, commits
}

func TestBranchMovesMeanwhile(t *testing.T) {
	o, bare, commits := interfering(t, 2)
	made := to(t, o, commits[0])
	if got := bare.Git("rev-parse", "main"); got != made.Commit {
		t.Errorf("main is at %s", got)
	}
	// What the others pushed is kept.
	if got := bare.Git("show", "main:other.txt"); !strings.HasPrefix(got, "by another") {
		t.Errorf("other.txt is %q", got)
	}
	if got := bare.Git("rev-list", "--count", "main"); got != "6" {
		t.Errorf("the branch has %s commits", got)
	}
}

func TestBranchMovesAgainAndAgain(t *testing.T) {
	o, _, commits := interfering(t, 1000)
	if _, err := To(t.Context(), o, commits[0]); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), "given up") {
		t.Errorf("got %v", err)
	}
}

func TestServerRefuses(t *testing.T) {
	r, commits := shop(t)
	bare := gittest.InitBare(t)
	r.Git("push", "-q", bare.Dir, "main")
	hook := filepath.Join(bare.Dir, "hooks", "pre-receive")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := options(bare.ServeHTTP(nil))
	o.Auth = login
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	if _, err := To(t.Context(), o, commits[0]); !errors.Is(err, remote.ErrRejected) {
		t.Errorf("got %v", err)
	}
	if got := bare.Git("rev-parse", "main"); got != commits[2] {
		t.Errorf("main is at %s", got)
	}
	o.Auth.Password = "guess"
	if _, err := To(t.Context(), o, commits[0]); !errors.Is(err, remote.ErrDenied) || strings.Contains(err.Error(), "guess") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(scratch, "*")); len(left) > 0 {
		t.Errorf("left behind are %q", left)
	}
}
