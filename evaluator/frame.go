package evaluator

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The two processes speak in frames: a byte that tells the sort, the length of what follows in four bytes, and that.
// One speaks at a time. The parent sends a job; the child asks about the tree, which the parent answers, tells which
// directory it begins, and hands over what each yields, until it says that it is done.
type frame byte

const (
	frameJob     frame = 'j' // to the child: work as JSON
	frameAnswer  frame = 'a' // to the child: an answer as JSON
	frameContent frame = 'c' // to the child: a file's content, the answer to a question for it
	frameAsk     frame = 'q' // to the parent: a question as JSON
	frameBegin   frame = 'b' // to the parent: the directory that is now evaluated
	frameYield   frame = 'y' // to the parent: what that directory yields
	frameDone    frame = 'd' // to the parent: the job is done; an error's text if it could not be
)

// maxFrame bounds a frame, in bytes. A manifest has 10 MB at most, and a directory of objects not many times that.
const maxFrame = 256 << 20

var errGarbage = errors.New("what it sent is no answer")

// A pipe carries frames.
type pipe struct {
	in  *bufio.Reader
	out io.Writer
}

func newPipe(in io.Reader, out io.Writer) *pipe {
	return &pipe{in: bufio.NewReaderSize(in, 64<<10), out: out}
}

// send writes a frame in one piece.
func (p *pipe) send(f frame, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("%d bytes are more than the %d that a frame holds", len(payload), maxFrame)
	}
	b := make([]byte, 0, 5+len(payload))
	b = binary.BigEndian.AppendUint32(append(b, byte(f)), uint32(len(payload)))
	_, err := p.out.Write(append(b, payload...))
	return err
}

func (p *pipe) sendJSON(f frame, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return p.send(f, payload)
}

// receive reads a frame. The error is io.EOF when nothing more comes, and io.ErrUnexpectedEOF within a frame. Memory is
// taken as the frame arrives, not as its length promises.
func (p *pipe) receive() (frame, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, errGarbage
	}
	const piece = 1 << 20
	payload := make([]byte, 0, min(n, piece))
	for len(payload) < int(n) {
		at := len(payload)
		payload = append(payload, make([]byte, min(int(n)-at, piece))...)
		if _, err := io.ReadFull(p.in, payload[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, err
		}
	}
	return frame(head[0]), payload, nil
}
