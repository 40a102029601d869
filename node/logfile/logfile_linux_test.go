package logfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/node/logfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// A writer appends to a log as a shim does.
type writer struct {
	testing.TB
	file *os.File
	next int
}

func newWriter(t testing.TB) *writer {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "0"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &writer{TB: t, file: f}
}

func (w *writer) path() string { return w.file.Name() }

func (w *writer) write(s string) {
	w.Helper()
	if _, err := w.file.WriteString(s); err != nil {
		w.Fatal(err)
	}
}

// lines writes numbered lines of a hundred bytes.
func (w *writer) lines(n int) {
	w.Helper()
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "%-99d\n", w.next)
		w.next++
	}
	w.write(b.String())
}

func (w *writer) space() int64 {
	w.Helper()
	info, err := os.Stat(w.path())
	if err != nil {
		w.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// A failer is a test, of go or of rapid.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func ended() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func read(t failer, path string, options api.LogOptions) string {
	t.Helper()
	var out bytes.Buffer
	if err := logfile.New().Read(context.Background(), path, options, ended(), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTail(t *testing.T) {
	w := newWriter(t)
	for _, c := range []struct {
		content string
		lines   int
		want    string
	}{
		{"", 3, ""},
		{"one\n", 1, "one\n"},
		{"one\n", 5, "one\n"},
		{"one", 1, "one"},
		{"one\ntwo", 1, "two"},
		{"one\ntwo\nthree\n", 2, "two\nthree\n"},
		{"one\ntwo\nthree\n", 0, ""},
		{"\n\n\n", 2, "\n\n"},
	} {
		if err := os.WriteFile(w.path(), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := read(t, w.path(), api.LogOptions{Tail: &c.lines}); got != c.want {
			t.Errorf("the last %d lines of %q are %q, want %q", c.lines, c.content, got, c.want)
		}
	}
}

// TestTailProperty compares with the plain way to say it, over lines of many lengths, across the borders of blocks.
func TestTailProperty(t *testing.T) {
	w := newWriter(t)
	rapid.Check(t, func(rt *rapid.T) {
		var all []string
		for range rapid.IntRange(0, 12).Draw(rt, "count") {
			all = append(all, strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 100, 65534, 65535, 65536, 70000}).Draw(rt, "length"))+"\n")
		}
		content := strings.Join(all, "")
		if rapid.Bool().Draw(rt, "unfinished") {
			all = append(all, "rest")
			content += "rest"
		}
		if err := os.WriteFile(w.path(), []byte(content), 0o600); err != nil {
			rt.Fatal(err)
		}
		n := rapid.IntRange(0, 14).Draw(rt, "tail")
		want := strings.Join(all[max(0, len(all)-n):], "")
		if got := read(rt, w.path(), api.LogOptions{Tail: &n}); got != want {
			rt.Fatalf("got %d bytes, want %d", len(got), len(want))
		}
	})
}

// numbers reads numbered lines, and asks that they follow one another and are whole.
func numbers(t testing.TB, text string) (first, last int) {
	t.Helper()
	first, last = -1, -1
	for line := range strings.Lines(text) {
		var n int
		if _, err := fmt.Sscan(line, &n); err != nil || len(line) != 100 {
			t.Fatalf("not a whole line: %q", line)
		}
		if last >= 0 && n != last+1 {
			t.Fatalf("line %d comes after line %d", n, last)
		}
		if first < 0 {
			first = n
		}
		last = n
	}
	return first, last
}

func TestTrim(t *testing.T) {
	w := newWriter(t)
	const keep = 100_000
	for round := range 40 {
		w.lines(777)
		if err := logfile.New().Trim(w.path(), keep); err != nil {
			t.Fatal(err)
		}
		// A quarter above the limit, and what the file system rounds up.
		if space := w.space(); space > keep*5/4+2*4096 {
			t.Fatalf("after %d rounds it takes %d bytes", round+1, space)
		}
		first, last := numbers(t, read(t, w.path(), api.LogOptions{}))
		if kept := (last - first + 1) * 100; last != w.next-1 || kept < min(keep-100, w.next*100) {
			t.Fatalf("lines %d to %d are left of %d", first, last, w.next)
		}
	}
	if first, last := numbers(t, read(t, w.path(), api.LogOptions{Tail: new(5)})); first != w.next-5 || last != w.next-1 {
		t.Errorf("the last five lines are %d to %d", first, last)
	}
	if first, last := numbers(t, read(t, w.path(), api.LogOptions{Tail: new(1_000_000)})); last != w.next-1 || first == 0 {
		t.Errorf("a million lines are %d to %d", first, last)
	}
	if err := logfile.New().Trim(filepath.Join(t.TempDir(), "none"), keep); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("trimming no log: %v", err)
	}
}

// A sink takes what it is sent, slowly if it is told so, and can be waited for.
type sink struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func newSink() *sink { return &sink{changed: make(chan struct{}, 1)} }

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *sink) until(t testing.TB, want func(string) bool) {
	t.Helper()
	timeout := time.After(patience)
	for !want(s.String()) {
		select {
		case <-s.changed:
		case <-timeout:
			t.Fatalf("it read only %q", s.String())
		}
	}
}

func TestFollow(t *testing.T) {
	w := newWriter(t)
	w.write("one\ntwo\n")
	end, done, out := make(chan struct{}), make(chan error, 1), newSink()
	go func() {
		done <- logfile.New().Read(context.Background(), w.path(), api.LogOptions{Follow: true, Tail: new(1)}, end, out)
	}()
	out.until(t, func(s string) bool { return s == "two\n" })
	w.write("thr")
	out.until(t, func(s string) bool { return s == "two\nthr" })
	w.write("ee\n")
	w.write("four\n")
	close(end) // what was written before is still read
	if err := <-done; err != nil {
		t.Error(err)
	}
	if out.String() != "two\nthree\nfour\n" {
		t.Errorf("it read %q", out)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	w := newWriter(t)
	w.write("one\n")
	ctx, cancel := context.WithCancel(t.Context())
	done, out := make(chan error, 1), newSink()
	go func() {
		done <- logfile.New().Read(ctx, w.path(), api.LogOptions{Follow: true}, make(chan struct{}), out)
	}()
	out.until(t, func(s string) bool { return s == "one\n" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestFollowWhileTrimmed lets a reader fall behind the trimming, and asks that it only ever sees whole lines, in order,
// and is told where some are missing.
func TestFollowWhileTrimmed(t *testing.T) {
	w := newWriter(t)
	end, done := make(chan struct{}), make(chan error, 1)
	r, pipe := io.Pipe() // as slow as it is read
	go func() {
		err := logfile.New().Read(context.Background(), w.path(), api.LogOptions{Follow: true}, end, pipe)
		done <- errors.Join(err, pipe.CloseWithError(io.EOF))
	}()
	go func() {
		for range 300 {
			w.lines(100)
			if err := logfile.New().Trim(w.path(), 50_000); err != nil {
				t.Error(err)
			}
		}
		close(end)
	}()
	buffer := make([]byte, 3000)
	var got strings.Builder
	for {
		n, err := r.Read(buffer)
		got.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	last, seen, cut, lines := -1, 0, false, strings.SplitAfter(got.String(), "\n")
	for i, line := range lines {
		var number int
		_, err := fmt.Sscan(line, &number)
		told := i > 0 && strings.HasPrefix(lines[i-1], "[headway:")
		switch {
		case strings.HasPrefix(line, "[headway:") || line == "" && i == len(lines)-1:
			continue
		case cut && !told:
			t.Fatalf("line %d is cut off, and nothing says why: %q", last, lines[i-1])
		case err != nil || number != last+1 && !told && last >= 0:
			t.Fatalf("after line %d comes %q", last, line)
		}
		last, cut = number, len(line) != 100
		seen++
	}
	if last != w.next-1 || cut {
		t.Errorf("the last line is %d of %d", last, w.next)
	}
	t.Logf("%d of %d lines were read", seen, w.next)
}

func TestMissing(t *testing.T) {
	err := logfile.New().Read(t.Context(), filepath.Join(t.TempDir(), "none"), api.LogOptions{}, ended(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "no such log") {
		t.Errorf("got %v", err)
	}
}
