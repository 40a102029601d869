package logfile_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/node/logfile"
)

// A dated log is written to and looked at, at times of its own.
type dated struct {
	*writer
	now   time.Time
	known int64 // what who looks knows of its length
	text  strings.Builder
	begun []time.Time // of each line, when it was begun
}

func newDated(t testing.TB) *dated {
	return &dated{writer: newWriter(t), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), known: -1}
}

// say appends text, a second after what came before.
func (d *dated) say(text string) {
	d.Helper()
	d.now = d.now.Add(time.Second)
	for line := range strings.Lines(text) {
		if whole := d.text.String(); whole == "" || strings.HasSuffix(whole, "\n") {
			d.begun = append(d.begun, d.now)
		}
		d.text.WriteString(line)
	}
	d.write(text)
	if err := os.Chtimes(d.path(), d.now, d.now); err != nil {
		d.Fatal(err)
	}
}

func (d *dated) look() {
	d.Helper()
	var err error
	if d.known, err = logfile.New().Date(d.path(), d.known); err != nil {
		d.Fatal(err)
	}
}

// notes is where the times are.
func (d *dated) notes() string { return d.path() + ".times" }

// cut takes the end of a file away, as a crash may.
func cut(t failer, path string, length func(size int64) int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		return // there is none yet
	}
	if err := os.Truncate(path, length(info.Size())); err != nil {
		t.Fatal(err)
	}
}

// stamped reads lines with their times.
func (d *dated) stamped(t failer, options api.LogOptions) (lines []string, times []time.Time) {
	t.Helper()
	options.Timestamps = true
	for line := range strings.Lines(read(t, d.path(), options)) {
		stamp, rest, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			t.Fatal(fmt.Sprintf("no time before %q: %v", line, err))
		}
		lines, times = append(lines, rest), append(times, at)
	}
	return lines, times
}

func TestTimestamps(t *testing.T) {
	d := newDated(t)
	for _, text := range []string{"one\n", "two\nthree\n", "fo", "ur\nfive\n", "six"} {
		d.say(text)
		d.look()
	}
	const want = `2026-01-02T03:04:06Z one
2026-01-02T03:04:07Z two
2026-01-02T03:04:07Z three
2026-01-02T03:04:08Z four
2026-01-02T03:04:09Z five
2026-01-02T03:04:10Z six`
	if got := read(t, d.path(), api.LogOptions{Timestamps: true}); got != want {
		t.Errorf("got:\n%s", got)
	}
	for since, want := range map[string]string{
		"03:04:00": "one\ntwo\nthree\nfour\nfive\nsix",
		"03:04:07": "two\nthree\nfour\nfive\nsix",
		"03:04:09": "four\nfive\nsix", // the end of four was written then
		"03:04:10": "six",
		"03:05:00": "",
	} {
		at, err := time.Parse(time.DateTime, "2026-01-02 "+since)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, d.path(), api.LogOptions{Since: at}); got != want {
			t.Errorf("since %s: %q, want %q", since, got, want)
		}
	}
	at := d.now.Add(-3 * time.Second)
	if got := read(t, d.path(), api.LogOptions{Since: at, Tail: new(2), Timestamps: true}); got != "2026-01-02T03:04:09Z five\n2026-01-02T03:04:10Z six" {
		t.Errorf("the last two of them: %q", got)
	}
}

// TestTimesProperty has a log written to, looked at and trimmed in any order, the one who looks killed at any byte, and in the end
// the log itself cut off. Every line that is left is read once, with a time that is never before it was begun, nor after the
// last of what was written, and never before that of the line before.
func TestTimesProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDated(t)
		defer os.Remove(d.path())
		d.say("begin\n")
		d.look()
		prompt := true // it was always looked at before more was written
		rt.Repeat(map[string]func(*rapid.T){
			"say": func(rt *rapid.T) {
				d.say(rapid.SampledFrom([]string{"a line\n", "half", " and half\n", "\n", strings.Repeat("long ", 2000) + "\n"}).Draw(rt, "text"))
				if prompt = prompt && rapid.Bool().Draw(rt, "looked at"); prompt {
					d.look()
				}
			},
			"look": func(*rapid.T) { d.look() },
			"killed": func(rt *rapid.T) {
				prompt = false
				cut(rt, d.notes(), func(size int64) int64 { return rapid.Int64Range(0, size).Draw(rt, "notes left") })
				d.known = -1
			},
			"trim": func(rt *rapid.T) {
				if err := logfile.New().Trim(d.path(), 20_000); err != nil {
					rt.Fatal(err)
				}
				if err := os.Chtimes(d.path(), d.now, d.now); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) { d.check(rt, prompt) },
		})
		cut(rt, d.path(), func(size int64) int64 { return rapid.Int64Range(0, size).Draw(rt, "log left") })
		if err := os.Chtimes(d.path(), d.now, d.now); err != nil {
			rt.Fatal(err)
		}
		d.check(rt, false)
	})
}

// check reads the log in all ways. exact asks for the very times.
func (d *dated) check(t *rapid.T, exact bool) {
	plain := strings.SplitAfter(read(t, d.path(), api.LogOptions{}), "\n")
	if plain[len(plain)-1] == "" {
		plain = plain[:len(plain)-1]
	}
	lines, times := d.stamped(t, api.LogOptions{})
	if len(lines) != len(plain) {
		t.Fatalf("%d lines with times, %d without", len(lines), len(plain))
	}
	whole := d.text.String()
	first := strings.Count(whole, "\n") // lines before those that are read; a log that is cut off keeps its beginning
	if i := strings.LastIndex(whole, strings.Join(plain, "")); i >= 0 && len(plain) > 0 {
		first = strings.Count(whole[:i], "\n")
	}
	for i := range lines {
		switch begun := d.begun[first+i]; {
		case lines[i] != plain[i]:
			t.Fatalf("line %d is %q with its time, %q without", i, lines[i], plain[i])
		case times[i].Before(begun), times[i].After(d.now), exact && !times[i].Equal(begun):
			t.Fatalf("line %d, begun at %v, has the time %v; it is %v", i, begun, times[i], d.now)
		case i > 0 && times[i].Before(times[i-1]):
			t.Fatalf("line %d has the time %v, before %v", i, times[i], times[i-1])
		}
	}
	since := d.now.Add(-time.Duration(rapid.IntRange(-1, 20).Draw(t, "ago")) * time.Second)
	late, _ := d.stamped(t, api.LogOptions{Since: since})
	due := len(lines) - slices.IndexFunc(append(times, since), func(at time.Time) bool { return !at.Before(since) })
	if len(late) < due || len(late) > due+1 { // and maybe one that was only ended since
		t.Fatalf("since %v there are %d lines, want %d of those with the times %v", since, len(late), due, times)
	}
}

// TestTimesAreBounded looks at a log more often than times are kept.
func TestTimesAreBounded(t *testing.T) {
	d := newDated(t)
	for range 10_000 {
		d.say("a line\n")
		d.look()
	}
	info, err := os.Stat(d.notes())
	if err != nil || info.Size() > 64<<10+16 {
		t.Errorf("the times take %d bytes, %v", info.Size(), err)
	}
	_, times := d.stamped(t, api.LogOptions{})
	for i, at := range times {
		if at.Before(d.begun[i]) || i >= len(times)-1024 && !at.Equal(d.begun[i]) {
			t.Fatalf("line %d of %d, written at %v, has the time %v", i, len(times), d.begun[i], at)
		}
	}
}

// TestFollowWithTimestamps reads what comes in parts.
func TestFollowWithTimestamps(t *testing.T) {
	d := newDated(t)
	d.say("one\n")
	end, done, out := make(chan struct{}), make(chan error, 1), newSink()
	go func() {
		done <- logfile.New().Read(t.Context(), d.path(), api.LogOptions{Follow: true, Timestamps: true}, end, out)
	}()
	out.until(t, func(s string) bool { return s == "2026-01-02T03:04:06Z one\n" })
	d.write("tw")
	out.until(t, func(s string) bool { return strings.HasSuffix(s, "tw") })
	d.write("o\n")
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 3 || strings.Count(lines[1], "Z ") != 1 || !strings.HasSuffix(lines[1], " two") {
		t.Errorf("it read %q", out)
	}
}

// FuzzTimes reads any log with any notes beside it: every line is there, after a time.
func FuzzTimes(f *testing.F) {
	f.Add([]byte("one\ntwo\n"), []byte("\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("one"), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("\n\n"), []byte("\x7f\xff\xff\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff half"))
	f.Fuzz(func(t *testing.T, log, notes []byte) {
		d := newDated(t)
		d.write(string(log))
		if err := os.WriteFile(d.notes(), notes, 0o600); err != nil {
			t.Fatal(err)
		}
		lines, times := d.stamped(t, api.LogOptions{})
		if got := strings.Join(lines, ""); got != string(log) {
			t.Errorf("%q, want %q", got, log)
		}
		for i := range times {
			if i > 0 && times[i].Before(times[i-1]) {
				t.Errorf("line %d has the time %v, before %v", i, times[i], times[i-1])
			}
		}
		d.look() // which mends them
		if again, _ := d.stamped(t, api.LogOptions{}); strings.Join(again, "") != string(log) {
			t.Errorf("%q, want %q", again, log)
		}
	})
}
