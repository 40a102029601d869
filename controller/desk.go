package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// A desk writes reports and events apart from the loop, for no placement should wait for what is only told to people. It
// keeps the newest report and every event until they are written.
type desk struct {
	bus  Writer
	log  *slog.Logger
	wake chan struct{}
	// wrote is told the term of each report that is stored.
	wrote func(api.Term)

	mu     sync.Mutex
	draft  *draft
	events []api.Event

	// Only run touches these.
	written    *api.Report
	generation int        // of the objects stored last
	objects    api.Digest // their blob
}

// A draft is a report that lacks the digest of its objects.
type draft struct {
	report     api.Report
	objects    []api.Object
	generation int
}

func newDesk(bus Writer, log *slog.Logger, last *api.Report, wrote func(api.Term)) *desk {
	d := &desk{bus: bus, log: log, wake: make(chan struct{}, 1), written: last, wrote: wrote}
	if last != nil {
		d.objects = last.Objects
	}
	return d
}

// put hands in the newest report and what happened.
func (d *desk) put(report api.Report, objects []api.Object, generation int, events []api.Event) {
	d.mu.Lock()
	d.draft = &draft{clone(report), objects, generation}
	d.events = append(d.events, events...)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run writes what is handed in until ctx is done.
func (d *desk) run(ctx context.Context) error {
	var wait backoff
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.wake:
		}
		for {
			err := d.write(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if isOverwritten(err) {
				return err
			}
			if err == nil {
				wait = backoff{}
				break
			}
			d.log.Warn("the report could not be written; trying again", "error", err)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait.next()):
			}
		}
	}
}

// write writes the newest report, if it says anything new, and the events in their order.
func (d *desk) write(ctx context.Context) error {
	d.mu.Lock()
	draft := d.draft
	d.mu.Unlock()
	if err := d.writeReport(ctx, *draft); err != nil {
		return err
	}
	for {
		d.mu.Lock()
		if len(d.events) == 0 {
			d.mu.Unlock()
			return nil
		}
		e := d.events[0]
		d.mu.Unlock()
		if err := d.bus.PublishEvent(ctx, e); err != nil {
			return fmt.Errorf("event %s of %s: %w", e.Kind, e.Ref, err)
		}
		d.log.Info(e.Kind, "ref", e.Ref.String(), "reason", e.Reason, "commit", api.ShortCommit(e.Commit))
		d.mu.Lock()
		d.events = d.events[1:]
		d.mu.Unlock()
	}
}

func (d *desk) writeReport(ctx context.Context, draft draft) error {
	if draft.generation != d.generation {
		digest, err := d.store(ctx, draft.objects)
		if err != nil {
			return err
		}
		d.objects, d.generation = digest, draft.generation
	}
	draft.report.Objects = d.objects
	if d.written != nil && sameReport(*d.written, draft.report) {
		return nil
	}
	if err := d.bus.PutReport(ctx, draft.report); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	d.written = &draft.report
	d.wrote(draft.report.Term)
	return nil
}

// store writes the objects in force as a blob, unless the last report already names it.
func (d *desk) store(ctx context.Context, objects []api.Object) (api.Digest, error) {
	data, err := json.Marshal(objects)
	if err != nil {
		return "", fmt.Errorf("objects in force: %w", err)
	}
	sum := sha256.Sum256(data)
	digest := api.Digest(hex.EncodeToString(sum[:]))
	if digest == d.objects {
		return digest, nil
	}
	if err := d.bus.PutBlob(ctx, digest, data); err != nil {
		return "", fmt.Errorf("objects in force: %w", err)
	}
	return digest, nil
}
