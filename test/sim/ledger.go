package sim

import (
	"errors"
	"sync"
)

const (
	// errOverwritten is the error of a write over what its writer has not read, as package bus has it.
	errOverwritten overwrittenError = "somebody else has written since it was read"
	// errStaleTerm is that of a leader that was followed, or that does not know how high the terms have been.
	errStaleTerm overwrittenError = "a later leader has written the routes"
)

// An overwrittenError is one after which a leader begins anew.
type overwrittenError string

func (e overwrittenError) Error() string   { return string(e) }
func (overwrittenError) Overwritten() bool { return true }

// reportKey is the report's in a ledger.
const reportKey = "report"

// A storePoint is a message of one incarnation of the store.
type storePoint struct {
	epoch    uint64 // 0: nothing is known
	seq      uint64
	doubtful bool // seq says nothing, after a write that failed
}

// allows reports whether what is there can be the message, as far as that is known.
func (p storePoint) allows(epoch, seq uint64) bool {
	return p.epoch == 0 || p.epoch == epoch && (p.doubtful || p.seq == seq)
}

// A ledger remembers which messages a connection has read or written of what only leaders write, by node and for the report:
// it writes over no others.
type ledger struct {
	mu       sync.Mutex
	epochs   map[string]uint64 // by bucket
	seqs     map[string]uint64
	doubtful map[string]bool
}

// bucketOf is where what is written under a key is.
func bucketOf(key string) string {
	if key == reportKey {
		return inReport
	}
	return inAssignments
}

// read takes in what the store holds now.
func (l *ledger) read(s *store) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs = map[string]uint64{inReport: s.epochs[inReport], inAssignments: s.epochs[inAssignments]}
	l.seqs, l.doubtful = map[string]uint64{reportKey: s.reportSeq}, map[string]bool{}
	for node, e := range s.values[inAssignments] {
		l.seqs[node] = e.seq
	}
}

// expected gives the message that a write is to replace.
func (l *ledger) expected(key string) storePoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return storePoint{l.epochs[bucketOf(key)], l.seqs[key], l.doubtful[key]}
}

// wrote takes in a write.
func (l *ledger) wrote(s *store, key string, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bucket := bucketOf(key); l.epochs[bucket] == s.epochs[bucket] {
		l.seqs[key] = seq
		delete(l.doubtful, key)
	}
}

// doubt takes in that nobody knows whether a write was made that failed.
func (l *ledger) doubt(key string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epochs != nil && err != nil && !errors.Is(err, errOverwritten) {
		l.doubtful[key] = true
	}
	return err
}
