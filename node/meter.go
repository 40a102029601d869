package node

import (
	"context"
	"hash/fnv"
	"time"

	"headway.dev/headway/api"
)

// A UsageReporter is a bus that carries what containers use to the controller.
type UsageReporter interface {
	// PutUsage says what the node's containers use. It may be lost on the way.
	PutUsage(ctx context.Context, usage api.NodeUsage) error
}

// meter says what the containers use as often as the assignment asks for it, until ctx is done. As long as it does not ask,
// nothing is measured.
func (a *Agent) meter(ctx context.Context) {
	reporter, ok := a.config.Bus.(UsageReporter)
	if _, measures := a.config.Runtime.(Meter); !ok || !measures {
		return
	}
	every := time.Duration(0)
	for {
		wait := make(<-chan time.Time)
		var timer *time.Timer
		if every > 0 {
			timer = time.NewTimer(untilTurn(a.config.Info.Name, time.Now(), every))
			wait = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-a.metering:
			before := every
			if every = a.meterEvery(); every > 0 && before == 0 {
				a.reportUsage(ctx, reporter) // the first of two that make a rate
			}
		case <-wait:
			a.reportUsage(ctx, reporter)
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// meterEvery is how often the assignment asks what the containers use.
func (a *Agent) meterEvery() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.assignment == nil {
		return 0
	}
	return a.assignment.MeterEvery
}

func (a *Agent) reportUsage(ctx context.Context, reporter UsageReporter) {
	usage, err := a.Usage(ctx)
	if err == nil {
		err = reporter.PutUsage(ctx, usage)
	}
	if err != nil && ctx.Err() == nil {
		a.log.Debug("what the containers use is not told this time", "error", err)
	}
}

// untilTurn is how long it is until the node's next turn. Each node has its own moment of the period, by its name, so that a
// fleet does not speak at once; a turn that comes right after another is left out.
func untilTurn(node string, now time.Time, every time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node)) // a hash takes everything
	phase := time.Duration(h.Sum64() % uint64(every))
	wait := every - time.Duration((now.UnixNano()-int64(phase))%int64(every))
	if wait < every/3 {
		wait += every
	}
	return wait
}
