package sim

import (
	"errors"
	"sync"
)

// errOverwritten is the error of a write over what its writer has not read, as package bus has it.
var errOverwritten error = overwrittenError{}

type overwrittenError struct{}

func (overwrittenError) Error() string     { return "somebody else has written since it was read" }
func (overwrittenError) Overwritten() bool { return true }

// reportKey is the report's in a ledger.
const reportKey = "report"

// A storePoint is a message of one incarnation of the store; 0 of either is unknown.
type storePoint struct{ epoch, seq uint64 }

// allows reports whether what is there can be the message, as far as that is known.
func (p storePoint) allows(there storePoint) bool {
	return p.epoch == 0 || p.epoch == there.epoch && (p.seq == 0 || p.seq == there.seq)
}

// A ledger remembers which messages a connection has read or written of what only leaders write, by node and for the report:
// it writes over no others.
type ledger struct {
	mu    sync.Mutex
	epoch uint64
	seqs  map[string]uint64 // 0 is one that nobody knows, after a write that failed
}

// read takes in what the store holds now.
func (l *ledger) read(s *store) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.seqs = s.epoch, map[string]uint64{}
	for node, e := range s.values[inAssignments] {
		l.seqs[node] = e.seq
	}
	if s.report != nil {
		l.seqs[reportKey] = s.reportSeq
	}
}

// expected gives the message that a write is to replace. Nothing is expected where none was ever seen.
func (l *ledger) expected(key string) storePoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq, known := l.seqs[key]; known {
		return storePoint{l.epoch, seq}
	}
	return storePoint{}
}

// wrote takes in a write.
func (l *ledger) wrote(s *store, key string, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == s.epoch {
		l.seqs[key] = seq
	}
}

// doubt takes in that nobody knows whether a write was made that failed.
func (l *ledger) doubt(key string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.seqs[key]; known && err != nil && !errors.Is(err, errOverwritten) {
		l.seqs[key] = 0
	}
	return err
}
