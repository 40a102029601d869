package logfile

import (
	"bytes"
	"io"
	"time"
)

// stampFormat is that of Kubernetes' logs.
const stampFormat = time.RFC3339Nano

// A stamper writes lines with the times before them. The zero value, without times, writes them as they are.
type stamper struct {
	times  *times
	inLine bool // what comes next goes on with a line
	out    []byte
	stamp  []byte // of the stretch that ends at until
	until  int64
}

// write writes what lies in the log from the offset on.
func (s *stamper) write(w io.Writer, data []byte, offset int64) error {
	if s.times == nil {
		_, err := w.Write(data)
		return err
	}
	s.out = s.out[:0]
	for len(data) > 0 {
		if !s.inLine {
			if err := s.stampAt(offset); err != nil {
				return err
			}
			s.out = append(s.out, s.stamp...)
		}
		end := bytes.IndexByte(data, '\n') + 1
		if s.inLine = end == 0; s.inLine {
			end = len(data)
		}
		s.out = append(s.out, data[:end]...)
		data, offset = data[end:], offset+int64(end)
	}
	_, err := w.Write(s.out)
	return err
}

// stampAt finds the stamp of what begins at the offset. Most lines have that of the line before.
func (s *stamper) stampAt(offset int64) error {
	if offset < s.until {
		return nil
	}
	at, until, err := s.times.at(offset)
	if err != nil {
		return err
	}
	s.stamp, s.until = append(at.AppendFormat(s.stamp[:0], stampFormat), ' '), until
	return nil
}
