package node

import (
	"context"
	"time"
)

// A schedule is how waits grow from failure to failure.
type schedule struct{ first, most time.Duration }

// The schedules: of steps that failed for no fault of the pod's, of images, and of the connection to the bus.
var (
	stepSchedule  = schedule{200 * time.Millisecond, 30 * time.Second}
	imageSchedule = schedule{time.Second, 5 * time.Minute}
	busSchedule   = schedule{200 * time.Millisecond, 5 * time.Second}
)

// after is the wait after so many failures in a row, one at least.
func (s schedule) after(failures int) time.Duration {
	d := s.first
	for ; failures > 1 && d < s.most; failures-- {
		d *= 2
	}
	return min(d, s.most)
}

// A backoff counts failures in a row and says when to try again. The zero value is ready.
type backoff struct {
	failures int
	until    time.Time
}

func (b *backoff) fail(now time.Time, s schedule) time.Duration {
	b.failures++
	d := s.after(b.failures)
	b.until = now.Add(d)
	return d
}

// persist calls fn until it succeeds or ctx is done, and tells of failures by report.
func persist(ctx context.Context, s schedule, report func(error, time.Duration), fn func(context.Context) error) error {
	for failures := 1; ; failures++ {
		err := fn(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		wait := s.after(failures)
		report(err, wait)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// pause waits, and reports whether it was for the whole time.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
