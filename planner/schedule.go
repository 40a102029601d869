package planner

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// A schedule says when a CronJob runs, in its time zone.
type schedule struct {
	cron.Schedule
	zone *time.Location
}

func (z *zones) schedule(text, zone string) (schedule, error) {
	parsed, err := cron.ParseStandard(text)
	if err != nil {
		return schedule{}, fmt.Errorf("schedule %q: %w", text, err)
	}
	location, err := z.load(zone)
	return schedule{parsed, location}, err
}

// every is the period of a schedule that has one, and no times of day.
func (s schedule) every() (time.Duration, bool) {
	constant, ok := s.Schedule.(cron.ConstantDelaySchedule)
	return constant.Delay, ok
}

// after is the first time after t; zero is never.
func (s schedule) after(t time.Time) time.Time {
	next := s.Next(t.In(s.zone))
	if next.IsZero() {
		return next
	}
	return next.UTC()
}

// next is the first time after now, for a schedule that last ran or began at from.
func (s schedule) next(from, now time.Time) time.Time {
	if period, ok := s.every(); ok {
		return from.Add((now.Sub(from)/period + 1) * period)
	}
	return s.after(now)
}

// latest is the last time after from and not after now; zero is none. However long that is, it looks at a few hundred
// times at most.
func (s schedule) latest(from, now time.Time) time.Time {
	if period, ok := s.every(); ok { // it counts from where it began
		if steps := now.Sub(from) / period; steps > 0 {
			return from.Add(steps * period)
		}
		return time.Time{}
	}
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 31 * 24 * time.Hour, 366 * 24 * time.Hour, 9 * 366 * 24 * time.Hour} {
		start := now.Add(-back)
		if start.Before(from) {
			start = from
		}
		var last time.Time
		for t := s.after(start); !t.IsZero() && !t.After(now); t = s.after(t) {
			last = t
		}
		if !last.IsZero() || start.Equal(from) {
			return last
		}
	}
	return time.Time{}
}
