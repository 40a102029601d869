package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headway.dev/headway/sync/internal/gittest"
)

// pair makes a bare repository and a working copy that is pushed to it, with one commit.
func pair(t testing.TB) (origin, r *gittest.Repo) {
	t.Helper()
	origin, r = gittest.InitBare(t), gittest.Init(t)
	r.Git("remote", "add", "origin", origin.Dir)
	r.CommitFile("a.yaml", "one")
	r.Git("push", "-q", "origin", "main")
	return origin, r
}

var ada = Auth{Username: gittest.User, Password: gittest.Password}

func TestFollowsServers(t *testing.T) {
	for _, scheme := range []string{"http", "ssh"} {
		for _, ref := range []string{"", "main"} {
			t.Run(scheme+" "+ref, func(t *testing.T) {
				origin, r := pair(t)
				o := Options{Ref: ref}
				if scheme == "http" {
					o.URL, o.Auth = origin.ServeHTTP(nil), ada
				} else {
					s := origin.ServeSSH()
					o.URL, o.Auth = s.URL, Auth{KeyFile: s.KeyFile, KnownHosts: s.KnownHosts}
				}
				m := open(t, o)
				f := follow(t, m)
				if s := f.wantCommit(r.Head()); read(t, s, "a.yaml") != "one" || s.Revision.Branch != "main" {
					t.Errorf("%+v", s.Revision)
				}
				// As small packs and as large ones.
				for _, files := range []int{1, 400, 1} {
					for i := range files {
						r.Write(fmt.Sprintf("d%d/f%d", files, i), fmt.Sprint(r.Head(), i))
					}
					head := r.Commit("more")
					r.Git("push", "-q", "origin", "main")
					m.Wake()
					f.wantCommit(head)
				}
				// History rewritten.
				r.Git("reset", "-q", "--hard", "HEAD~2")
				head := r.CommitFile("a.yaml", "another")
				r.Git("push", "-q", "-f", "origin", "main")
				m.Wake()
				f.wantCommit(head)
				gittest.At(t, m.store.Dir()).Git("fsck", "--strict", "--no-dangling")

				// Another branch, and a tag of it, on demand.
				r.Git("checkout", "-q", "-b", "feature/x")
				side := r.CommitFile("b.yaml", "b")
				r.Git("tag", "-a", "-m", "tag", "v1")
				r.Git("push", "-q", "origin", "feature/x", "v1")
				for _, rev := range []string{"feature/x", "v1", side} {
					if s, err := m.At(t.Context(), rev); err != nil || s.Revision.Commit != side || read(t, s, "b.yaml") != "b" {
						t.Errorf("%s: %v", rev, err)
					}
				}
				origin.Git("update-ref", "-d", "refs/heads/main")
				if ref == "main" {
					m.Wake()
					f.wantProblem(NoRef)
				}
			})
		}
	}
}

func TestServerProblems(t *testing.T) {
	origin, _ := pair(t)
	empty := gittest.InitBare(t)
	url := origin.ServeHTTP(nil)
	ssh := origin.ServeSSH()
	gone := gittest.InitBare(t).ServeSSH()
	gone.URL += ".not"
	for name, c := range map[string]struct {
		o    Options
		want Problem
	}{
		"no password":     {Options{URL: url}, Denied},
		"wrong password":  {Options{URL: url, Auth: Auth{Username: gittest.User, Password: "guess"}}, Denied},
		"no repository":   {Options{URL: url + "x", Auth: ada}, NoRepo},
		"no branch":       {Options{URL: url, Auth: ada, Ref: "nothing"}, NoRef},
		"no path":         {Options{URL: url, Auth: ada, Path: "nothing"}, NoPath},
		"empty":           {Options{URL: empty.ServeHTTP(nil), Auth: ada}, Empty},
		"nobody listens":  {Options{URL: "http://127.0.0.1:1/x", Auth: ada}, Unreachable},
		"wrong key":       {Options{URL: ssh.URL, Auth: Auth{KeyFile: gone.KeyFile, KnownHosts: ssh.KnownHosts}}, Denied},
		"unknown host":    {Options{URL: ssh.URL, Auth: Auth{KeyFile: ssh.KeyFile, KnownHosts: gone.KnownHosts}}, Unreachable},
		"ssh, no repo":    {Options{URL: gone.URL, Auth: Auth{KeyFile: gone.KeyFile, KnownHosts: gone.KnownHosts}}, NoRepo},
		"ssh, no one":     {Options{URL: "ssh://git@127.0.0.1:1/x", Auth: Auth{KeyFile: ssh.KeyFile, KnownHosts: ssh.KnownHosts}}, Unreachable},
		"password in URL": {Options{URL: strings.Replace(url, "http://", "http://ada:guess@", 1)}, Denied},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c.o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			m := open(t, c.o)
			defer m.Close()
			f := &follower{m: m, fn: func(Update) {}}
			f.tell(t.Context())
			var e *Error
			if !errors.As(f.err, &e) || e.Problem != c.want {
				t.Fatalf("got %v, want the problem %q", f.err, c.want)
			}
			for _, secret := range []string{"guess", gittest.Password} {
				if strings.Contains(e.Error()+log.String()+fmt.Sprintf("%v %+v %#v", c.o.Auth, c.o.Auth, c.o.Auth), secret) {
					t.Errorf("a password is shown: %v\n%s", e, log.String())
				}
			}
		})
	}
}

// TestSecretsAreNotStored checks the copy's directory, which may be backed up and read by others.
func TestSecretsAreNotStored(t *testing.T) {
	origin, r := pair(t)
	url := strings.Replace(origin.ServeHTTP(nil), "http://", "http://"+gittest.User+":"+gittest.Password+"@", 1)
	m := open(t, Options{URL: url})
	defer m.Close()
	if s, err := m.Fetch(t.Context()); err != nil || s.Revision.Commit != r.Head() {
		t.Fatal(err)
	}
	err := filepath.WalkDir(m.o.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), gittest.Password) {
			t.Errorf("%s holds the password", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// cutter breaks off each answer with a pack after some bytes, as often as it is told to.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// TestFetchIsKilled breaks fetches off in the middle, small and large ones, and goes on with the same copy, opened anew
// as after a crash.
func TestFetchIsKilled(t *testing.T) {
	origin, r := pair(t)
	for i := range 1000 {
		r.Write(fmt.Sprintf("d/f%d", i), strings.Repeat(fmt.Sprint(i), 50))
	}
	large := r.Commit("large")
	r.Git("push", "-q", "origin", "main")
	var after atomic.Int64
	url := origin.ServeHTTP(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if n := after.Load(); n > 0 && req.Method == http.MethodPost {
				w = &cutter{w, int(n)}
			}
			next.ServeHTTP(w, req)
		})
	})
	dir := filepath.Join(t.TempDir(), "mirror")
	try := func() (*Snapshot, error) {
		m := open(t, Options{URL: url, Auth: ada, Dir: dir})
		defer m.Close()
		return m.Fetch(t.Context())
	}
	for _, head := range []string{large, ""} {
		if head == "" {
			head = r.CommitFile("a.yaml", "small")
			r.Git("push", "-q", "origin", "main")
		}
		for _, n := range []int64{1, 20, 100, 300, 5_000, 20_000} {
			after.Store(n)
			if s, err := try(); err == nil && head == large {
				t.Errorf("a fetch that broke off after %d bytes gave %s", n, s.Revision.Commit)
			}
		}
		after.Store(0)
		s, err := try()
		if err != nil || s.Revision.Commit != head {
			t.Fatalf("%v", err)
		}
		gittest.At(t, dir).Git("fsck", "--strict", "--no-dangling")
	}
}

// TestStalledServer gives the last commit known though the server takes the connection and says nothing.
func TestStalledServer(t *testing.T) {
	origin, r := pair(t)
	var stall atomic.Bool
	released := make(chan struct{})
	url := origin.ServeHTTP(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if stall.Load() {
				_, _ = io.Copy(io.Discard, req.Body)
				select {
				case <-req.Context().Done():
				case <-released:
				}
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	defer close(released)
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: url, Auth: ada, Dir: dir})
	if _, err := m.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Close()
	stall.Store(true)
	f := follow(t, open(t, Options{URL: url, Auth: ada, Dir: dir}))
	start := time.Now()
	f.wantCommit(r.Head())
	if took := time.Since(start); took > 10*firstLook {
		t.Errorf("the commit known came after %s", took)
	}
}

// TestRunEndsWhileItFetches ends Run in the middle of a visit.
func TestRunEndsWhileItFetches(t *testing.T) {
	origin, _ := pair(t)
	asked := make(chan struct{}, 10)
	url := origin.ServeHTTP(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			asked <- struct{}{}
			<-req.Context().Done()
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	m := open(t, Options{URL: url, Auth: ada})
	go func() { done <- m.Run(ctx, func(u Update) { t.Errorf("got %+v", u) }) }()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}
