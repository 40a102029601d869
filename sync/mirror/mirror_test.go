package mirror

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"headway.dev/headway/sync/internal/gittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never is a poll interval that no test lives to see: what arrives was not found by polling.
const never = time.Hour

func open(t testing.TB, o Options) *Mirror {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "mirror")
	}
	if o.Poll == 0 {
		o.Poll = never
	}
	m, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A following receives the updates of a mirror's Run, which ends with the test.
type following struct {
	t       testing.TB
	updates chan Update
	stop    func() // ends Run; it may be called again
}

func follow(t testing.TB, m *Mirror) *following {
	t.Helper()
	f := &following{t: t, updates: make(chan Update, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, func(u Update) { f.updates <- u }) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

func (f *following) next() Update {
	f.t.Helper()
	select {
	case u := <-f.updates:
		if (u.Snapshot == nil) == (u.Err == nil) {
			f.t.Fatalf("of snapshot and error exactly one is set: %+v", u)
		}
		return u
	case <-time.After(20 * time.Second):
		f.t.Fatal("no update came")
	}
	panic("unreachable")
}

func (f *following) wantCommit(commit string) *Snapshot {
	f.t.Helper()
	u := f.next()
	if u.Err != nil {
		f.t.Fatalf("got the error %v, want commit %s", u.Err, commit)
	}
	if u.Snapshot.Revision.Commit != commit {
		f.t.Fatalf("got commit %s, want %s", u.Snapshot.Revision.Commit, commit)
	}
	return u.Snapshot
}

func (f *following) wantProblem(p Problem) Error {
	f.t.Helper()
	u := f.next()
	var e *Error
	if !errors.As(u.Err, &e) || e.Problem != p {
		f.t.Fatalf("got %+v, want the problem %q", u, p)
	}
	return *e
}

func (f *following) wantNothing() {
	f.t.Helper()
	select {
	case u := <-f.updates:
		f.t.Fatalf("got an update that says nothing new: %+v", u)
	default:
	}
}

func read(t testing.TB, s *Snapshot, path string) string {
	t.Helper()
	data, err := fs.ReadFile(s.FS(), path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFollowsCommitsInAWorkingCopy(t *testing.T) {
	r := gittest.Init(t)
	first := r.CommitFile("a.yaml", "one")
	f := follow(t, open(t, Options{URL: r.Dir}))
	s := f.wantCommit(first)
	if s.Revision.Branch != "main" || s.Revision.Author != gittest.Author || s.Revision.Message != "Change a.yaml\n" || !s.Revision.Time.Equal(gittest.Epoch) {
		t.Errorf("the revision is %+v", s.Revision)
	}
	for range 5 {
		f.wantCommit(r.CommitFile("a.yaml", "more "+r.Head()))
	}
	r.Git("checkout", "-q", "-b", "feature")
	// HEAD is followed wherever it goes.
	if s := f.wantCommit(r.CommitFile("b.yaml", "b")); s.Revision.Branch != "feature" {
		t.Errorf("the branch is %q", s.Revision.Branch)
	}
}

func TestFollowsPushesToABareRepository(t *testing.T) {
	for name, ref := range map[string]string{"short": "team/prod", "full": "refs/heads/team/prod"} {
		t.Run(name, func(t *testing.T) {
			origin, r := gittest.InitBare(t), gittest.Init(t)
			r.CommitFile("a.yaml", "one")
			r.Git("push", "-q", origin.Dir, "HEAD:main")
			f := follow(t, open(t, Options{URL: "file://" + origin.Dir, Ref: ref}))
			f.wantProblem(NoRef)
			// The branch lies in a directory that is made by the push.
			r.Git("push", "-q", origin.Dir, "HEAD:team/prod")
			if s := f.wantCommit(r.Head()); s.Revision.Branch != "team/prod" {
				t.Errorf("the branch is %q", s.Revision.Branch)
			}
			second := r.CommitFile("a.yaml", "two")
			r.Git("push", "-q", origin.Dir, "HEAD:team/prod")
			f.wantCommit(second)
		})
	}
}

func TestFollowsPackedRefsAndForcePushes(t *testing.T) {
	origin, r := gittest.InitBare(t), gittest.Init(t)
	base := r.CommitFile("a.yaml", "one")
	second := r.CommitFile("a.yaml", "two")
	r.Git("push", "-q", origin.Dir, "main")
	f := follow(t, open(t, Options{URL: origin.Dir, Ref: "main"}))
	f.wantCommit(second)

	origin.Git("pack-refs", "--all", "--prune")
	origin.Git("gc", "-q", "--prune=now")
	third := r.CommitFile("a.yaml", "three")
	r.Git("push", "-q", origin.Dir, "main")
	f.wantCommit(third)

	// A packed ref is changed by replacing the file.
	packed := filepath.Join(origin.Dir, "packed-refs")
	origin.Git("pack-refs", "--all", "--prune")
	data, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(packed+".new", []byte(strings.ReplaceAll(string(data), third, second)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(packed+".new", packed); err != nil {
		t.Fatal(err)
	}
	f.wantCommit(second)

	r.Git("reset", "-q", "--hard", base)
	other := r.CommitFile("a.yaml", "another two")
	r.Git("push", "-q", "-f", origin.Dir, "main")
	s := f.wantCommit(other)
	if got := read(t, s, "a.yaml"); got != "another two" {
		t.Errorf("a.yaml is %q", got)
	}
	origin.Git("update-ref", "refs/heads/main", base)
	f.wantCommit(base)
}

func TestVanishedBranchIsAnErrorAndReturns(t *testing.T) {
	origin, r := gittest.InitBare(t), gittest.Init(t)
	first := r.CommitFile("a.yaml", "one")
	r.Git("push", "-q", origin.Dir, "main", "main:other")
	m := open(t, Options{URL: origin.Dir, Ref: "main"})
	f := follow(t, m)
	f.wantCommit(first)
	origin.Git("update-ref", "-d", "refs/heads/main")
	if e := f.wantProblem(NoRef); !strings.Contains(e.Error(), "main") || !strings.Contains(e.Error(), origin.Dir) {
		t.Errorf("the error names neither ref nor repository: %v", &e)
	}
	// Told once, however often it is found.
	for range 3 {
		m.Wake()
	}
	r.Git("push", "-q", origin.Dir, "main")
	f.wantCommit(first)
	f.wantNothing()
	origin.Git("update-ref", "-d", "refs/heads/main")
	f.wantProblem(NoRef)
	second := r.CommitFile("a.yaml", "two")
	r.Git("push", "-q", origin.Dir, "main")
	f.wantCommit(second)
}

func TestEmptyRepository(t *testing.T) {
	r := gittest.Init(t)
	for _, ref := range []string{"", "main"} {
		t.Run("ref "+ref, func(t *testing.T) {
			f := follow(t, open(t, Options{URL: r.Dir, Ref: ref}))
			f.wantProblem(Empty)
		})
	}
	f := follow(t, open(t, Options{URL: r.Dir}))
	f.wantProblem(Empty)
	f.wantCommit(r.CommitFile("a.yaml", "one"))
}

func TestFollowsTags(t *testing.T) {
	r := gittest.Init(t)
	first := r.CommitFile("a.yaml", "one")
	r.Git("tag", "-a", "-m", "a release", "stable")
	f := follow(t, open(t, Options{URL: r.Dir, Ref: "stable"}))
	if s := f.wantCommit(first); s.Revision.Branch != "stable" {
		t.Errorf("the branch is %q", s.Revision.Branch)
	}
	second := r.CommitFile("a.yaml", "two")
	r.Git("tag", "-f", "stable")
	f.wantCommit(second)
}

func TestKnowsTheLastCommitWithoutTheSource(t *testing.T) {
	origin, r := gittest.InitBare(t), gittest.Init(t)
	r.CommitFile("a.yaml", "one")
	head := r.CommitFile("a.yaml", "two")
	r.Git("push", "-q", origin.Dir, "main")
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: origin.Dir, Dir: dir})
	if _, err := m.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(origin.Dir, origin.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	m = open(t, Options{URL: origin.Dir, Dir: dir, Poll: 20 * time.Millisecond})
	f := follow(t, m)
	s := f.wantCommit(head)
	f.wantProblem(NoRepo)
	// The copy owns its objects.
	if got := read(t, s, "a.yaml"); got != "two" {
		t.Errorf("a.yaml is %q", got)
	}
	before, err := m.At(t.Context(), "HEAD~1")
	if err != nil || read(t, before, "a.yaml") != "one" {
		t.Errorf("HEAD~1: %v, %v", before, err)
	}
	if err := os.Rename(origin.Dir+".away", origin.Dir); err != nil {
		t.Fatal(err)
	}
	f.wantCommit(head)
	// The watch has come back, too, at the latest with the next poll.
	third := r.CommitFile("a.yaml", "three")
	r.Git("push", "-q", origin.Dir, "main")
	f.wantCommit(third)

	// What another branch or another repository was at says nothing of this one. A copy has one mirror at a time.
	f.stop()
	if _, err := open(t, Options{URL: origin.Dir, Dir: dir, Ref: "other"}).known(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another branch: %v", err)
	}
	if _, err := open(t, Options{URL: r.Dir, Dir: dir}).known(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another repository: %v", err)
	}
}

func TestDamagedCopyIsMadeAnew(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"no HEAD":      func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "HEAD")) },
		"no objects":   func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "objects")) },
		"no refs":      func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "packed-refs")) },
		"bad refs":     func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, "packed-refs")) },
		"bad state":    func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, stateFile)) },
		"bad objects":  func(t *testing.T, dir string) { overwriteAll(t, filepath.Join(dir, "objects", "??", "*")) },
		"empty object": func(t *testing.T, dir string) { truncateAll(t, filepath.Join(dir, "objects", "??", "*")) },
	} {
		t.Run(name, func(t *testing.T) {
			r := gittest.Init(t)
			head := r.CommitFile("a.yaml", "one")
			dir := filepath.Join(t.TempDir(), "mirror")
			if _, err := open(t, Options{URL: r.Dir, Dir: dir}).Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir)
			f := follow(t, open(t, Options{URL: r.Dir, Dir: dir}))
			if s := f.wantCommit(head); read(t, s, "a.yaml") != "one" {
				t.Error("a.yaml is not what was committed")
			}
			f.wantCommit(r.CommitFile("a.yaml", "two"))
		})
	}
}

// TestDamageFoundWhileReading spoils one file's object under a mirror that runs.
func TestDamageFoundWhileReading(t *testing.T) {
	r := gittest.Init(t)
	head := r.CommitFile("a.yaml", "one")
	dir := filepath.Join(t.TempDir(), "mirror")
	m := open(t, Options{URL: r.Dir, Dir: dir})
	f := follow(t, m)
	f.wantCommit(head)
	blob := r.Git("rev-parse", "HEAD:a.yaml")
	overwriteAll(t, filepath.Join(dir, "objects", blob[:2], blob[2:]))
	s, err := m.At(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := fs.ReadFile(s.FS(), "a.yaml"); err == nil {
		t.Fatalf("a spoiled file was read as %q", data)
	}
	m.Wake()
	// The same commit is told again, since it now can be read.
	if s := f.wantCommit(head); read(t, s, "a.yaml") != "one" {
		t.Error("a.yaml is not what was committed")
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string) {
	t.Helper()
	// An object's file is read-only, which keeps nobody from putting another in its place.
	remove(t, path)
	if err := os.WriteFile(path, []byte("\x00spoiled"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func overwriteAll(t *testing.T, pattern string) {
	t.Helper()
	for _, file := range glob(t, pattern) {
		overwrite(t, file)
	}
}

func truncateAll(t *testing.T, pattern string) {
	t.Helper()
	for _, file := range glob(t, pattern) {
		remove(t, file)
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s matches nothing: %v", pattern, err)
	}
	return files
}

func TestDirectoryOfOthersIsLeftAlone(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("a.yaml", "one")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{URL: r.Dir, Dir: dir}); err == nil || !strings.Contains(err.Error(), "precious") {
		t.Errorf("got %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	dir := t.TempDir()
	for name, o := range map[string]Options{
		"no URL":         {Dir: dir},
		"no directory":   {URL: dir},
		"path upwards":   {URL: dir, Dir: dir, Path: "../x"},
		"path in middle": {URL: dir, Dir: dir, Path: "a/../../x"},
		"absolute path":  {URL: dir, Dir: dir, Path: "/etc"},
		"backslash":      {URL: dir, Dir: dir, Path: `a\..\b`},
		"scheme":         {URL: "ftp://example.org/x", Dir: dir},
		"git scheme":     {URL: "git://example.org/x", Dir: dir},
		"host in file":   {URL: "file://srv/x", Dir: dir},
		"ref":            {URL: dir, Dir: dir, Ref: "a..b"},
		"ref upwards":    {URL: dir, Dir: dir, Ref: "../../config"},
		"poll":           {URL: dir, Dir: dir, Poll: time.Nanosecond},
		"clear password": {URL: "http://u:p@example.org/x", Dir: dir},
	} {
		if m, err := Open(t.Context(), o); err == nil {
			t.Errorf("%s: %+v was taken", name, m.o)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func TestPathWithinTheRepository(t *testing.T) {
	r := gittest.Init(t)
	r.Write("deploy/prod/a.yaml", "one")
	r.Write("other.txt", "x")
	first := r.Commit("first")
	f := follow(t, open(t, Options{URL: r.Dir, Path: "./deploy/prod/"}))
	s := f.wantCommit(first)
	if s.Path() != "deploy/prod" || read(t, s, "a.yaml") != "one" {
		t.Errorf("path %q", s.Path())
	}
	if _, err := fs.Stat(s.FS(), "other.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file outside is seen: %v", err)
	}
	// A commit without the directory is not an empty snapshot.
	r.Git("rm", "-q", "-r", "deploy")
	second := r.Commit("no directory")
	if e := f.wantProblem(NoPath); e.Commit != second || e.Path != "deploy/prod" {
		t.Errorf("got %+v", e)
	}
	r.Write("deploy/prod", "a file")
	third := r.Commit("a file")
	if e := f.wantProblem(NoPath); e.Commit != third {
		t.Errorf("got %+v", e)
	}
	r.Git("revert", "--no-edit", third, second)
	f.next() // depending on the moment, of the first revert or of both
	s, err := open(t, Options{URL: r.Dir, Path: "deploy/prod"}).Fetch(t.Context())
	if err != nil || read(t, s, "a.yaml") != "one" {
		t.Errorf("after the revert: %v", err)
	}
}

func TestLinkedWorktreeAsSource(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("a.yaml", "one")
	linked := filepath.Join(t.TempDir(), "linked")
	r.Git("worktree", "add", "-q", "-b", "feature", linked)
	w := gittest.At(t, linked)
	first := w.CommitFile("a.yaml", "in the worktree")
	f := follow(t, open(t, Options{URL: linked}))
	if s := f.wantCommit(first); s.Revision.Branch != "feature" {
		t.Errorf("the branch is %q", s.Revision.Branch)
	}
	f.wantCommit(w.CommitFile("a.yaml", "again"))
	w.Git("checkout", "-q", "--detach", first)
	if s := f.wantCommit(first); s.Revision.Branch != "" {
		t.Errorf("the branch is %q", s.Revision.Branch)
	}
	f.wantCommit(w.CommitFile("a.yaml", "on no branch"))
}

func TestShallowSource(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("a.yaml", "one")
	r.CommitFile("a.yaml", "two")
	head := r.CommitFile("a.yaml", "three")
	shallow := filepath.Join(t.TempDir(), "shallow")
	r.Git("clone", "-q", "--depth=2", "file://"+r.Dir, shallow)
	m := open(t, Options{URL: shallow})
	s, err := m.Fetch(t.Context())
	if err != nil || s.Revision.Commit != head {
		t.Fatal(s, err)
	}
	parent, err := s.Parent(t.Context())
	if err != nil || read(t, parent, "a.yaml") != "two" {
		t.Fatal(err)
	}
	if _, err := parent.Parent(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestSourceWithAlternates(t *testing.T) {
	r := gittest.Init(t)
	head := r.CommitFile("a.yaml", "one")
	shared := filepath.Join(t.TempDir(), "shared")
	r.Git("clone", "-q", "--shared", r.Dir, shared)
	s, err := open(t, Options{URL: shared}).Fetch(t.Context())
	if err != nil || s.Revision.Commit != head || read(t, s, "a.yaml") != "one" {
		t.Fatal(s, err)
	}
}
