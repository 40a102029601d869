package logfile

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Files are logs on the machine's disk.
type Files struct{}

// New gives access to logs.
func New() Files { return Files{} }

const (
	// block is the unit in which file systems give space back.
	block = 4096
	// slackShare of the limit is what a log may exceed it by before it is trimmed, so that trimming is rare.
	slackShare = 4
)

// Trim gives back the disk space of all but about the last keep bytes, once the log has outgrown that by a quarter.
func (Files) Trim(path string, keep int64) error {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	const sector = 512 // the unit of Blocks
	if stat.Blocks*sector <= keep+keep/slackShare {
		return nil
	}
	head := (stat.Size - keep) / block * block
	if head <= 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, head); err != nil {
		return fmt.Errorf("give back the first %d bytes of %s: %w", head, path, err)
	}
	return nil
}

// A reader reads what is left of a log, in order.
type reader struct {
	file   *os.File
	offset int64
	// partial is set while what comes next may be the rest of a line whose start was taken.
	partial bool
}

// data moves the offset past what was taken; io.EOF if nothing is left after it.
func (r *reader) data() error {
	next, err := r.file.Seek(r.offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return io.EOF
	case err != nil:
		return fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	if next > r.offset {
		r.offset, r.partial = next, true
	}
	return nil
}

// read fills p with what follows. The head may be taken at any moment: what was read is only good if it is still there
// after that.
func (r *reader) read(p []byte) (int, error) {
	for {
		if err := r.data(); err != nil {
			return 0, err
		}
		n, err := r.file.ReadAt(p, r.offset)
		if n == 0 {
			return 0, err
		}
		next, seekErr := r.file.Seek(r.offset, unix.SEEK_DATA)
		if seekErr != nil && !errors.Is(seekErr, unix.ENXIO) {
			return 0, fmt.Errorf("%s: %w", r.file.Name(), seekErr)
		}
		if seekErr != nil || next > r.offset {
			continue
		}
		r.offset += int64(n)
		return n, nil
	}
}

// copy copies all that is there now.
func (r *reader) copy(w io.Writer, buffer []byte) error {
	for {
		n, err := r.read(buffer)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		data := r.wholeLines(buffer[:n])
		if len(data) == 0 {
			continue
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
}

// wholeLines leaves out the rest of a line whose start was taken.
func (r *reader) wholeLines(data []byte) []byte {
	if !r.partial {
		return data
	}
	for i, c := range data {
		if c == '\n' {
			r.partial = false
			return data[i+1:]
		}
	}
	return nil
}
