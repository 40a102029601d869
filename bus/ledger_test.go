package bus_test

import (
	"errors"
	"testing"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// TestOverwritten refuses what a leader writes over something that it has not read: another leader's, or nothing where the
// store was lost.
func TestOverwritten(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		leader, other := keeper(t, s), keeper(t, s)
		ctx := t.Context()
		begin := func() {
			t.Helper()
			_, err := leader.State(ctx)
			must(t, err)
		}
		refused := func(err error) {
			t.Helper()
			if !errors.Is(err, bus.ErrOverwritten) {
				t.Errorf("the error is %v, want ErrOverwritten", err)
			}
		}
		begin()
		for i := range 3 {
			must(t, leader.PutAssignment(ctx, assignment("n1", uint64(i))))
			must(t, leader.PutReport(ctx, api.Report{Term: api.Term(i)}))
		}
		must(t, other.PutAssignment(ctx, assignment("n1", 7)))
		must(t, other.PutAssignment(ctx, assignment("n2", 7)))
		must(t, other.PutReport(ctx, api.Report{Term: 7}))
		refused(leader.PutAssignment(ctx, assignment("n2", 8)))
		refused(leader.PutAssignment(ctx, assignment("n1", 8)))
		refused(leader.PutReport(ctx, api.Report{Term: 8}))
		report, err := leader.Report(ctx)
		must(t, err)
		if report.Term != 7 {
			t.Errorf("the report is of term %d, want 7", report.Term)
		}
		begin()
		must(t, leader.PutAssignment(ctx, assignment("n1", 9)))
		must(t, leader.PutReport(ctx, api.Report{Term: 9}))

		s.restart(true)
		for err = bus.ErrUnavailable; !errors.Is(err, bus.ErrOverwritten); err = leader.PutReport(ctx, api.Report{Term: 10}) {
			if err == nil {
				t.Fatal("a report is put into another store than it is of")
			}
			awaitConnected(t, leader)
		}
		refused(leader.PutAssignment(ctx, assignment("n1", 10)))
		begin()
		must(t, leader.PutAssignment(ctx, assignment("n1", 11)))
	})
}
