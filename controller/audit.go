package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// auditPeriod is how often the leader makes sure that the store still holds what it wrote there.
const auditPeriod = time.Minute

var (
	errStoreLost  = errors.New("the store has lost what was written there; beginning anew")
	errReportLost = errors.New("the report is of an earlier leader, which was slow to notice that it was followed; beginning anew")
)

// An auditor finds out when the store is lost under a leader that goes on leading: a server of the bus that comes back
// empty, say; or that one which was followed has written its report late, over the leader's own. The leader then begins anew, as
// after a restart.
type auditor struct {
	bus  Bus
	look chan struct{} // holds a token when there is reason to look at once

	mu       sync.Mutex
	expected map[string]mark // by node; replaced, never changed
	reported api.Term        // of the newest report that was written; 0 is none
}

// A mark orders the assignments of a node.
type mark struct {
	term     api.Term
	sequence uint64
}

func (m mark) compare(o mark) int {
	return cmp.Or(cmp.Compare(m.term, o.term), cmp.Compare(m.sequence, o.sequence))
}

func newAuditor(bus Bus) *auditor { return &auditor{bus: bus, look: make(chan struct{}, 1)} }

// expect sets what the store holds.
func (a *auditor) expect(marks map[string]mark) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = marks
}

// wrote notes that the store holds a report of a term.
func (a *auditor) wrote(term api.Term) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reported = term
}

// suspect asks for a look at once.
func (a *auditor) suspect() {
	select {
	case a.look <- struct{}{}:
	default:
	}
}

// run looks now and then, until ctx is done or the store is found to be lost.
func (a *auditor) run(ctx context.Context) error {
	ticker := time.NewTicker(auditPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.look:
		case <-ticker.C:
		}
		a.mu.Lock()
		expected, reported := a.expected, a.reported // before the store is read: what is written meanwhile is only newer
		a.mu.Unlock()
		found, err := a.bus.State(ctx)
		if err != nil {
			continue // it is away, which is not to be empty
		}
		if err := missing(expected, found.Assignments); err != nil {
			return err
		}
		if found.Report == nil && reported > 0 || found.Report != nil && found.Report.Term < reported {
			return errReportLost
		}
	}
}

// missing compares what was written with what is there.
func missing(expected map[string]mark, found []api.Assignment) error {
	there := make(map[string]mark, len(found))
	for _, a := range found {
		there[a.Node] = mark{a.Term, a.Sequence}
	}
	for node, want := range expected {
		if there[node].compare(want) < 0 {
			return fmt.Errorf("assignment of node %s: %w", node, errStoreLost)
		}
	}
	return nil
}

// marks are the assignments that this leader has written, and that the store should hold.
func (s *state) marks() map[string]mark {
	marks := map[string]mark{}
	for _, n := range s.nodes {
		if n.ours {
			marks[n.name] = mark{n.written.Term, n.written.Sequence}
		}
	}
	return marks
}
