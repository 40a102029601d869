package planner

import (
	"fmt"
	"time"

	"headway.dev/headway/api"
)

// Frozen tells until when no commit is to be taken; zero is not frozen. Of several windows that are open the one that closes
// last counts. An error is of a window that cannot be understood: the others hold nonetheless.
func Frozen(windows []api.FreezeWindow, now time.Time) (until time.Time, err error) {
	var z zones
	for i, w := range windows {
		s, wrong := z.schedule(w.Schedule, w.TimeZone)
		if wrong != nil {
			err = fmt.Errorf("freeze[%d]: %w", i, wrong)
			continue
		}
		opened := s.latest(now.Add(-w.Duration.Duration), now)
		if opened.IsZero() {
			continue
		}
		if closes := opened.Add(w.Duration.Duration); closes.After(now) && closes.After(until) {
			until = closes
		}
	}
	return until, err
}
