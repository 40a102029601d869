package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headway.dev/headway/sync/internal/gittest"
	"headway.dev/headway/sync/internal/objects"
	"headway.dev/headway/sync/remote"
)

// A script is a source that says what the test tells it to, and counts how often it is asked.
type script struct {
	local localSource

	mu     sync.Mutex
	visits int
	answer func(ctx context.Context) error // nil: as the repository has it
}

func (*script) close() {}

func (s *script) visit(ctx context.Context) (visit, error) {
	s.mu.Lock()
	s.visits++
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		if err := answer(ctx); err != nil {
			return nil, err
		}
	}
	return s.local.visit(ctx)
}

func (s *script) will(answer func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visits
}

// bubble runs a mirror of a script in a bubble in which time passes as fast as nothing happens.
func bubble(t *testing.T, poll time.Duration, test func(t *testing.T, m *Mirror, s *script, r *gittest.Repo)) {
	t.Helper()
	r := gittest.Init(t)
	r.CommitFile("a.yaml", "one")
	dir := t.TempDir() + "/mirror"
	synctest.Test(t, func(t *testing.T) {
		// Watching would hold the bubble's time up, and is tested elsewhere: a server has nothing to watch.
		m := open(t, Options{URL: "https://example.org/x.git", Dir: dir, Poll: poll})
		s := &script{local: localSource{r.Dir}}
		m.source = s
		test(t, m, s, r)
	})
}

func TestPollsWithJitter(t *testing.T) {
	bubble(t, 10*time.Second, func(t *testing.T, m *Mirror, s *script, _ *gittest.Repo) {
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Second)
		defer cancel()
		var visits []time.Time
		s.will(func(context.Context) error {
			visits = append(visits, time.Now())
			return nil
		})
		updates := 0
		if err := m.Run(ctx, func(Update) { updates++ }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		if updates != 1 {
			t.Errorf("%d updates of one commit", updates)
		}
		pauses := map[time.Duration]bool{}
		for i, at := range visits[1:] {
			pause := at.Sub(visits[i])
			if pauses[pause] = true; pause < 9*time.Second || pause > 11*time.Second {
				t.Errorf("the pause before visit %d is %s", i+1, pause)
			}
		}
		if len(pauses) < len(visits)/2 {
			t.Errorf("of %d pauses only %d differ", len(visits)-1, len(pauses))
		}
	})
}

func TestErrorsAreToldOnceAndRecoveryToo(t *testing.T) {
	bubble(t, 10*time.Second, func(t *testing.T, m *Mirror, s *script, r *gittest.Repo) {
		head := r.Head()
		f := follow(t, m)
		f.wantCommit(head)
		settle := func(d time.Duration) {
			time.Sleep(d) //nolint:forbidigo // of the bubble's time, which takes none
			synctest.Wait()
		}
		settle(time.Minute)
		f.wantNothing()
		attempt := 0
		s.will(func(context.Context) error {
			attempt++
			return fmt.Errorf("%w: attempt %d from port %d", remote.ErrUnreachable, attempt, 40000+attempt)
		})
		settle(time.Minute)
		f.wantProblem(Unreachable)
		f.wantNothing()
		s.will(func(context.Context) error { return remote.ErrDenied })
		settle(time.Minute)
		f.wantProblem(Denied)
		f.wantNothing()
		s.will(nil)
		settle(time.Minute)
		f.wantCommit(head)
		f.wantNothing()
	})
}

func TestWakeDoesNotWaitForThePoll(t *testing.T) {
	bubble(t, time.Hour, func(t *testing.T, m *Mirror, s *script, r *gittest.Repo) {
		f := follow(t, m)
		f.next()
		synctest.Wait()
		start, before := time.Now(), s.count()
		for range 100 {
			m.Wake()
		}
		synctest.Wait()
		// Many wakes at once are one look, or two if the first had begun.
		if got := s.count() - before; got < 1 || got > 2 {
			t.Errorf("%d visits", got)
		}
		head := r.CommitFile("a.yaml", "two")
		m.Wake()
		f.wantCommit(head)
		if !time.Now().Equal(start) {
			t.Errorf("it took %s", time.Since(start))
		}
	})
}

// TestFirstLookIsBounded: a source that hangs holds up the commit known from before for a second, and is no error yet.
func TestFirstLookIsBounded(t *testing.T) {
	bubble(t, time.Hour, func(t *testing.T, m *Mirror, s *script, r *gittest.Repo) {
		head, err := m.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		second := r.CommitFile("a.yaml", "two")
		s.will(func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", remote.ErrUnreachable, ctx.Err())
			case <-time.After(5 * time.Second):
				return nil
			}
		})
		start := time.Now()
		f := follow(t, m)
		f.wantCommit(head.Revision.Commit)
		if took := time.Since(start); took != firstLook {
			t.Errorf("it took %s", took)
		}
		f.wantCommit(second)
		if took := time.Since(start); took != firstLook+5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestUpdatesAreNotConcurrent holds one update while commits come in: the last of them is told, and none at the same time.
func TestUpdatesAreNotConcurrent(t *testing.T) {
	bubble(t, time.Hour, func(t *testing.T, m *Mirror, _ *script, r *gittest.Repo) {
		ctx, cancel := context.WithCancel(t.Context())
		hold := make(chan struct{})
		inside := 0
		var told []string
		done := make(chan error, 1)
		go func() {
			done <- m.Run(ctx, func(u Update) {
				if inside++; inside > 1 {
					t.Error("two at once")
				}
				<-hold
				inside--
				told = append(told, u.Snapshot.Revision.Commit)
			})
		}()
		want := []string{r.Head()}
		synctest.Wait()
		for i := range 5 {
			r.CommitFile("a.yaml", fmt.Sprint(i))
			m.Wake()
			synctest.Wait()
		}
		want = append(want, r.Head())
		close(hold)
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
		if fmt.Sprint(told) != fmt.Sprint(want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

var _ source = (*script)(nil)

// TestCopyOutlivesRewritingAndGC reads a snapshot whose commit the source has dropped and cleared away.
func TestCopyOutlivesRewritingAndGC(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("a.yaml", "one")
	lost := r.CommitFile("a.yaml", "two")
	m := open(t, Options{URL: r.Dir})
	s, err := m.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Git("reset", "-q", "--hard", "HEAD~1")
	r.Git("reflog", "expire", "--expire=now", "--all")
	r.Git("gc", "-q", "--prune=now")
	if _, err := m.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "a.yaml"); s.Revision.Commit != lost || got != "two" {
		t.Errorf("a.yaml is %q", got)
	}
	if _, err := m.At(t.Context(), lost); err != nil {
		t.Error(err)
	}
}

// TestSourceIsRepackedMeanwhile fetches again and again while git moves the source's objects about.
func TestSourceIsRepackedMeanwhile(t *testing.T) {
	r := gittest.Init(t)
	r.CommitFile("a.yaml", "start")
	m := open(t, Options{URL: r.Dir, Ref: "main"})
	var committing sync.Mutex // git add itself fails where a directory of objects is emptied under it
	var repacking sync.WaitGroup
	stop := make(chan struct{})
	repacking.Go(func() {
		packer := gittest.At(t, r.Dir)
		for {
			select {
			case <-stop:
				return
			default:
				committing.Lock()
				packer.Git("repack", "-q", "-a", "-d")
				packer.Git("pack-refs", "--all", "--prune")
				committing.Unlock()
			}
		}
	})
	for i := range 30 {
		committing.Lock()
		head := r.CommitFile("a.yaml", fmt.Sprint(i))
		committing.Unlock()
		s, err := m.Fetch(t.Context())
		if err != nil {
			t.Errorf("fetch %d: %v", i, err)
		} else if s.Revision.Commit != head || read(t, s, "a.yaml") != fmt.Sprint(i) {
			t.Errorf("fetch %d gave %s", i, s.Revision.Commit)
		}
	}
	close(stop)
	repacking.Wait()
}

func TestHavesReachFarBack(t *testing.T) {
	r := gittest.Init(t)
	for i := range 20 {
		r.CommitFile("a.yaml", fmt.Sprint(i))
	}
	m := open(t, Options{URL: r.Dir})
	if _, err := m.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	var want []objects.Hash
	for _, back := range []int{0, 1, 2, 4, 8, 16} {
		want = append(want, objects.ParseHash(r.Git("rev-parse", fmt.Sprintf("HEAD~%d", back))))
	}
	if got := m.haves(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
