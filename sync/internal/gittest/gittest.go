// Package gittest makes Git repositories for tests with the git program, apart from the configuration of whoever runs
// them.
package gittest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Author is who makes the commits.
const Author = "Ada <ada@example.org>"

// Epoch is the time of the first commit of a repository; each later one is a minute after the one before.
var Epoch = time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC)

// A Repo is a repository in a directory of the test.
type Repo struct {
	t       testing.TB
	Dir     string
	commits int
}

// Init makes a repository with a working copy on branch main.
func Init(t testing.TB) *Repo {
	t.Helper()
	r := &Repo{t: t, Dir: filepath.Join(t.TempDir(), "work")}
	run(t, "", nil, "init", "-q", "-b", "main", r.Dir)
	return r
}

// InitBare makes a bare repository.
func InitBare(t testing.TB) *Repo {
	t.Helper()
	r := &Repo{t: t, Dir: filepath.Join(t.TempDir(), "origin.git")}
	run(t, "", nil, "init", "-q", "--bare", "-b", "main", r.Dir)
	return r
}

// At is a repository that is already there.
func At(t testing.TB, dir string) *Repo { return &Repo{t: t, Dir: dir} }

// Env is the environment in which git sees no configuration but the repository's own.
func Env() []string {
	return append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=gc.auto", "GIT_CONFIG_VALUE_0=0",
		"GIT_CONFIG_KEY_1=protocol.file.allow", "GIT_CONFIG_VALUE_1=always",
	)
}

func run(t testing.TB, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, append(Env(), env...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// Git runs git in the repository and returns what it prints.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	date := Epoch.Add(time.Duration(r.commits) * time.Minute).Format(time.RFC3339)
	return run(r.t, r.Dir, []string{"GIT_AUTHOR_DATE=" + date, "GIT_COMMITTER_DATE=" + date}, args...)
}

// Write writes a file of the working copy.
func (r *Repo) Write(path, content string) {
	r.t.Helper()
	file := filepath.Join(r.Dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// Commit commits all that changed in the working copy, if only a message, and returns the commit's hash.
func (r *Repo) Commit(message string) string {
	r.t.Helper()
	r.Git("add", "-A")
	r.Git("commit", "-q", "--allow-empty", "-m", message)
	r.commits++
	return r.Head()
}

// CommitFile writes one file and commits it.
func (r *Repo) CommitFile(path, content string) string {
	r.t.Helper()
	r.Write(path, content)
	return r.Commit("Change " + path)
}

// Head is the commit that is checked out.
func (r *Repo) Head() string {
	r.t.Helper()
	return r.Git("rev-parse", "HEAD")
}
