package logfile

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The times of a log are in a file beside it, since its writer keeps none: now and then somebody who looks notes how long the log
// is, and when it was last written to. What lies between two notes was written by the time of the second; a line has the time of
// the stretch that it begins in. Where the log grows more slowly than it is looked at, that is the very time of the line.
//
// A note is two numbers of eight bytes, the most significant first: the length, and the time in nanoseconds since 1970.
const (
	timesSuffix = ".times"
	noteSize    = 16
	// mostNotes bounds the file, at 64 KiB. Past it every second of the older notes goes: old times become coarser.
	mostNotes = 4096
	// fineNotes are the newest, which stay as they are.
	fineNotes = 1024
)

// A note says that so much of the log was written by then.
type note struct {
	length int64
	time   int64 // nanoseconds since 1970
}

// Date notes how long the log is and when it was written to last, unless it is as long as known says; negative is not known. It
// gives how long the log is.
func (Files) Date(path string, known int64) (int64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if stat.Size == known || stat.Size == 0 {
		return stat.Size, nil
	}
	newest := note{stat.Size, stat.Mtim.Nano()}
	if known >= 0 {
		full, err := appendNote(path+timesSuffix, newest)
		if err != nil || !full {
			return stat.Size, err
		}
	}
	// What an agent left behind that was killed may be cut off, or end with this very note.
	notes, err := readNotes(path + timesSuffix)
	if err != nil {
		return 0, err
	}
	return stat.Size, writeNotes(path+timesSuffix, thin(sound(append(notes, newest))))
}

// appendNote adds a note. It reports whether the file has become too long.
func appendNote(path string, n note) (full bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	if _, err = f.Write(encode(nil, n)); err != nil {
		return false, errors.Join(err, f.Close())
	}
	end, err := f.Seek(0, io.SeekCurrent)
	return end > mostNotes*noteSize, errors.Join(err, f.Close())
}

func encode(to []byte, n note) []byte {
	to = binary.BigEndian.AppendUint64(to, uint64(n.length))
	return binary.BigEndian.AppendUint64(to, uint64(n.time))
}

// readNotes gives the notes as they are; a log of which there are none was written before there were any.
func readNotes(path string) ([]note, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	notes := make([]note, 0, len(data)/noteSize+1)
	for ; len(data) >= noteSize; data = data[noteSize:] {
		notes = append(notes, note{int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint64(data[8:]))})
	}
	return notes, nil
}

// writeNotes replaces the notes.
func writeNotes(path string, notes []note) error {
	data := make([]byte, 0, len(notes)*noteSize)
	for _, n := range notes {
		data = encode(data, n)
	}
	half := path + "~"
	if err := os.WriteFile(half, data, 0o600); err != nil {
		return err
	}
	return os.Rename(half, path)
}

// sound leaves out notes that cannot be: of a log that grows, time goes on. What was set back with the machine's clock counts
// from the time before.
func sound(notes []note) []note {
	kept := notes[:0]
	var last note
	for _, n := range notes {
		if n.length <= last.length {
			continue
		}
		n.time = max(n.time, last.time)
		kept, last = append(kept, n), n
	}
	return kept
}

// thin bounds the notes.
func thin(notes []note) []note {
	for len(notes) > mostNotes*3/4 {
		fine := notes[len(notes)-fineNotes:]
		old := notes[:len(notes)-fineNotes]
		kept := old[:0]
		for i := 1; i < len(old); i += 2 { // of two stretches the joint one ends as the second
			kept = append(kept, old[i])
		}
		if len(old)%2 == 1 {
			kept = append(kept, old[len(old)-1])
		}
		notes = slices.Concat(kept, fine)
	}
	return notes
}

// times tell when what is in a log was written, to one who reads on and on.
type times struct {
	file  *os.File
	notes []note
}

// timesOf reads the times of a log. Without any, all of it was written by when it was last written to.
func timesOf(f *os.File) (*times, error) {
	notes, err := readNotes(f.Name() + timesSuffix)
	if err != nil {
		return nil, err
	}
	t := &times{f, sound(notes)}
	return t, t.extend()
}

// extend takes in what was written since the newest note.
func (t *times) extend() error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(t.file.Fd()), &stat); err != nil {
		return &os.PathError{Op: "stat", Path: t.file.Name(), Err: err}
	}
	t.notes = sound(append(t.notes, note{stat.Size, stat.Mtim.Nano()}))
	return nil
}

// at gives when the byte at the offset was written, and where the stretch of that time ends. It forgets what lies before.
func (t *times) at(offset int64) (time.Time, int64, error) {
	find := func() int {
		i, _ := slices.BinarySearchFunc(t.notes, offset, func(n note, offset int64) int { return cmp.Compare(n.length, offset+1) })
		return i
	}
	i := find()
	if i == len(t.notes) {
		if err := t.extend(); err != nil {
			return time.Time{}, 0, err
		}
		if i = find(); i == len(t.notes) {
			return time.Time{}, 0, io.ErrUnexpectedEOF
		}
	}
	t.notes = t.notes[i:]
	return time.Unix(0, t.notes[0].time).UTC(), t.notes[0].length, nil
}

// since gives where the first stretch begins that was not over before then.
func (t *times) since(then time.Time) int64 {
	i, _ := slices.BinarySearchFunc(t.notes, then.UnixNano(), func(n note, then int64) int { return cmp.Compare(n.time, then) })
	if i == 0 {
		return 0
	}
	return t.notes[i-1].length
}

// end is how much there is that the times tell of.
func (t *times) end() int64 {
	if len(t.notes) == 0 {
		return 0
	}
	return t.notes[len(t.notes)-1].length
}
