package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"

	"headway.dev/headway/sync/internal/gittest"
	"headway.dev/headway/sync/internal/objects"
)

// large makes a repository of 10,000 files in 100 directories.
func large(b *testing.B) *gittest.Repo {
	b.Helper()
	r := gittest.Init(b)
	for i := range 10_000 {
		r.Write(fmt.Sprintf("d%02d/f%04d.yaml", i%100, i), fmt.Sprintf("kind: ConfigMap\nmetadata: {name: c%d}\ndata: {k: v%d}\n", i, i))
	}
	r.Commit("10,000 files")
	return r
}

// BenchmarkCommitToUpdate measures from the moment git update-ref has returned, the commit being made before, until fn is
// called. What it prints as late/op is the same from the start of git update-ref, which itself takes most of it.
func BenchmarkCommitToUpdate(b *testing.B) {
	r := large(b)
	updates := make(chan time.Time, 1)
	m := open(b, Options{URL: r.Dir, Ref: "main"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- m.Run(ctx, func(u Update) {
			if u.Err != nil {
				b.Error(u.Err)
			}
			updates <- time.Now()
		})
	}()
	<-updates
	var after, from time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		r.Write("d07/f0007.yaml", fmt.Sprint("changed ", i))
		r.Git("add", "d07/f0007.yaml")
		tree := r.Git("write-tree")
		commit := r.Git("commit-tree", "-p", "HEAD", "-m", fmt.Sprint(i), tree)
		b.StartTimer()
		start := time.Now()
		r.Git("update-ref", "refs/heads/main", commit)
		returned := time.Now()
		at := <-updates
		after += max(0, at.Sub(returned))
		from += at.Sub(start)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		b.Error(err)
	}
	b.ReportMetric(after.Seconds()*1000/float64(b.N), "ms-after-git/op")
	b.ReportMetric(from.Seconds()*1000/float64(b.N), "ms-with-git/op")
}

// BenchmarkFetch measures one look that finds a new commit, in process and by way of git-upload-pack.
func BenchmarkFetch(b *testing.B) {
	b.Run("in process", func(b *testing.B) {
		r := large(b)
		m := open(b, Options{URL: r.Dir})
		benchmarkFetch(b, r, func() error {
			_, err := m.Fetch(b.Context())
			return err
		})
	})
	b.Run("by git-upload-pack", func(b *testing.B) {
		r := large(b)
		copied, err := git.PlainInit(filepath.Join(b.TempDir(), "copy"), true)
		if err != nil {
			b.Fatal(err)
		}
		origin, err := copied.CreateRemote(&config.RemoteConfig{Name: "origin", URLs: []string{r.Dir}})
		if err != nil {
			b.Fatal(err)
		}
		benchmarkFetch(b, r, func() error {
			return origin.FetchContext(b.Context(), &git.FetchOptions{RefSpecs: []config.RefSpec{"+refs/heads/main:refs/heads/main"}, Tags: git.NoTags})
		})
	})
}

func benchmarkFetch(b *testing.B, r *gittest.Repo, fetch func() error) {
	b.Helper()
	if err := fetch(); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		r.CommitFile("d07/f0007.yaml", fmt.Sprint("changed ", i))
		b.StartTimer()
		if err := fetch(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNothingNew measures one look that finds the head where it was.
func BenchmarkNothingNew(b *testing.B) {
	m := open(b, Options{URL: large(b).Dir})
	if _, err := m.Fetch(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := m.Fetch(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFirstFetch measures copying the whole repository.
func BenchmarkFirstFetch(b *testing.B) {
	r := large(b)
	for b.Loop() {
		if _, err := open(b, Options{URL: r.Dir}).Fetch(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadAll measures reading all 10,000 files of a snapshot.
func BenchmarkReadAll(b *testing.B) {
	s := fetch(b, Options{URL: large(b).Dir})
	for b.Loop() {
		var err error
		if s.view.store, err = objects.OpenOwn(s.view.store.Dir()); err != nil {
			b.Fatal(err)
		}
		err = fs.WalkDir(s.FS(), ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = fs.ReadFile(s.FS(), path)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
