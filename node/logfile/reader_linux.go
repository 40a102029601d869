package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A reader reads what is left of a log, in order.
type reader struct {
	file   *os.File
	offset int64
	// partial is set while what comes next may be the rest of a line whose start was taken.
	partial bool
	// missed is how much was taken since something was written last.
	missed int64
	last   byte // written; 0 before the first

	stamper stamper
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
		r.missed += next - r.offset
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
		next, err := r.file.Seek(r.offset, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO) || err == nil && next > r.offset:
			continue
		case err != nil:
			return 0, fmt.Errorf("%s: %w", r.file.Name(), err)
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
		if err := r.noteMissed(w); err != nil {
			return err
		}
		if err := r.stamper.write(w, data, r.offset-int64(len(data))); err != nil {
			return err
		}
		r.last = data[len(data)-1]
	}
}

// wholeLines leaves out the rest of a line whose start was taken.
func (r *reader) wholeLines(data []byte) []byte {
	if !r.partial {
		return data
	}
	end := bytes.IndexByte(data, '\n') + 1
	r.partial = end == 0
	r.missed += int64(len(data))
	if end > 0 {
		r.missed -= int64(len(data) - end)
		return data[end:]
	}
	return nil
}

// noteMissed tells who has read up to here that what follows is not the next line.
func (r *reader) noteMissed(w io.Writer) error {
	missed := r.missed
	r.missed = 0
	if missed == 0 || r.last == 0 {
		return nil
	}
	note := fmt.Sprintf("[headway: %d bytes are missing here: they were dropped before they were read]\n", missed)
	if r.last != '\n' {
		note = "\n" + note
	}
	r.stamper.inLine = false
	_, err := io.WriteString(w, note)
	return err
}
