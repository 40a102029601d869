package logfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"headway.dev/headway/api"
)

// bufferSize is how much is read and written at once.
const bufferSize = 64 << 10

// Read copies what the options choose of a log to w. With Follow it goes on with what is appended, until ended is closed
// and all is copied, or ctx is done. A line that was begun before Since and ended after it is among what was written since.
func (Files) Read(ctx context.Context, path string, options api.LogOptions, ended <-chan struct{}, w io.Writer) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("there is no such log on this node any more")
	} else if err != nil {
		return err
	}
	defer f.Close()
	r := &reader{file: f}
	if options.Timestamps || !options.Since.IsZero() {
		times, err := timesOf(f)
		if err != nil {
			return err
		}
		if options.Timestamps {
			r.stamper.times = times
		}
		if err := r.since(times, options.Since); err != nil {
			return err
		}
	}
	if options.Tail != nil {
		if err := r.tail(*options.Tail); err != nil {
			return err
		}
	}
	w = contextWriter{ctx, w}
	buffer := make([]byte, bufferSize)
	if !options.Follow {
		return r.copy(w, buffer)
	}
	return r.follow(ctx, ended, w, buffer)
}

// since moves to the first line of which some was written since then.
func (r *reader) since(times *times, then time.Time) error {
	if then.IsZero() {
		return nil
	}
	start := times.since(then)
	if start == times.end() {
		r.offset = start // nothing was, also not of a line that goes on
		return nil
	}
	for start > 0 {
		// A block at a time back to where the line begins.
		chunk := make([]byte, min(start, block))
		if _, err := r.file.ReadAt(chunk, start-int64(len(chunk))); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if i := bytes.LastIndexByte(chunk, '\n'); i >= 0 {
			start -= int64(len(chunk) - i - 1)
			break
		}
		taken, err := r.taken(start - int64(len(chunk)))
		if start -= int64(len(chunk)); err != nil || taken {
			r.offset, r.partial = start, true
			return err
		}
	}
	r.offset = start
	return nil
}

// tail moves to the start of the last lines.
func (r *reader) tail(lines int) error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	if lines <= 0 {
		r.offset = max(r.offset, end)
		return nil
	}
	buffer := make([]byte, bufferSize)
	for end > r.offset {
		start := max(r.offset, end-bufferSize)
		chunk := buffer[:end-start]
		if _, err := r.file.ReadAt(chunk, start); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		// The end of the last line, whole or not yet, counts for none.
		if end == info.Size() && chunk[len(chunk)-1] == '\n' {
			chunk = chunk[:len(chunk)-1]
		}
		for i := len(chunk); ; lines-- {
			if i = bytes.LastIndexByte(chunk[:i], '\n'); i < 0 {
				break
			}
			if lines == 1 {
				r.offset = start + int64(i) + 1
				return nil
			}
		}
		taken, err := r.taken(start)
		if err != nil || taken {
			return err // reading finds the start of what is left
		}
		end = start
	}
	return nil
}

// taken says whether there is nothing left before the offset.
func (r *reader) taken(offset int64) (bool, error) {
	if offset == 0 {
		return false, nil
	}
	next, err := r.file.Seek(offset-1, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return true, nil
	}
	return next >= offset, err
}

// follow copies what is there and what is appended.
func (r *reader) follow(ctx context.Context, ended <-chan struct{}, w io.Writer, buffer []byte) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("follow %s: %w", r.file.Name(), err)
	}
	defer watcher.Close()
	if err := watcher.Add(r.file.Name()); err != nil {
		return fmt.Errorf("follow %s: %w", r.file.Name(), err)
	}
	for {
		if err := r.copy(w, buffer); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return r.copy(w, buffer)
		case _, open := <-watcher.Events:
			if !open {
				return fmt.Errorf("follow %s: its watch ended", r.file.Name())
			}
		case err, open := <-watcher.Errors:
			// Events that were lost are made up for by reading again.
			if !open || !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("follow %s: %w", r.file.Name(), err)
			}
		}
	}
}

// A contextWriter fails once its context is done.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
