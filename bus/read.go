package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/bus/internal/wire"
)

// Metadata of the streams that headway makes.
const (
	epochKey  = "headway.epoch"
	layoutKey = "headway.layout"
)

const (
	batchMessages = 512
	batchBytes    = 4 << 20
)

// errNoStore is the error of reading a stream that does not exist.
var errNoStore = fmt.Errorf("the bus has no store yet (a controller makes it): %w", ErrNotFound)

// A storeID tells one incarnation of a stream from the next: sequences begin again when a store was lost.
type storeID struct {
	// epoch is when the stream was made, in nanoseconds. It only grows, and faster than messages are stored, so that
	// epoch and sequence added together name a revision across all incarnations.
	epoch uint64
	last  uint64 // the newest sequence
	same  bool   // as this version of headway would make it
}

// unavailable turns the client's ways of saying that there is no connection into ErrUnavailable.
func unavailable(err error) error {
	switch {
	case errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, jetstream.ErrConnectionClosed):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// streamInfo is what is used of the server's description of a stream.
type streamInfo struct {
	Error  *jetstream.APIError `json:"error"`
	Config struct {
		Metadata map[string]string `json:"metadata"`
	} `json:"config"`
	State struct {
		LastSequence uint64            `json:"last_seq"`
		Subjects     map[string]uint64 `json:"subjects"` // how many messages each has
	} `json:"state"`
	Created time.Time `json:"created"`
}

// describe asks about a stream; with a filter, also for the subjects that match it, from an offset on.
func (c *Conn) describe(ctx context.Context, stream, filter string, offset int) (streamInfo, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	request, err := json.Marshal(struct {
		Filter string `json:"subjects_filter,omitempty"`
		Offset int    `json:"offset,omitempty"`
	}{filter, offset})
	if err != nil {
		return streamInfo{}, err
	}
	answer, err := c.nc.RequestWithContext(ctx, wire.Info(stream), request)
	if errors.Is(err, nats.ErrNoResponders) {
		return streamInfo{}, errNoStore
	}
	if err != nil {
		return streamInfo{}, fmt.Errorf("ask for the state of %s: %w", stream, unanswered(ctx, err))
	}
	var info streamInfo
	if err := json.Unmarshal(answer.Data, &info); err != nil {
		return streamInfo{}, fmt.Errorf("ask for the state of %s: %w", stream, err)
	}
	if info.Error != nil {
		if info.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound {
			return streamInfo{}, errNoStore
		}
		return streamInfo{}, fmt.Errorf("ask for the state of %s: %w", stream, info.Error)
	}
	return info, nil
}

// identify asks which incarnation of a stream there is.
func (c *Conn) identify(ctx context.Context, stream string) (storeID, error) {
	info, err := c.describe(ctx, stream, "", 0)
	if err != nil {
		return storeID{}, err
	}
	epoch, err := strconv.ParseUint(info.Config.Metadata[epochKey], 10, 64)
	if err != nil {
		// Another tool has made the stream.
		epoch = uint64(info.Created.UnixNano())
	}
	return storeID{epoch: epoch, last: info.State.LastSequence, same: info.Config.Metadata[layoutKey] == layout}, nil
}

// An entry is one message as a stream holds it.
type entry struct {
	subject string
	seq     uint64
	time    time.Time
	header  nats.Header
	data    []byte
}

// deleted reports whether the entry says that its key is gone.
func (e entry) deleted() bool {
	switch e.header.Get("KV-Operation") {
	case "DEL", "PURGE":
		return true
	}
	return false
}

// readEntry reads a message that the server sends from a stream, be it an answer or live. The server's own headers are
// the last of their name: a writer may have put such into the message before.
func readEntry(m *nats.Msg) (entry, error) {
	own := func(name string) string {
		if values := m.Header.Values(name); len(values) > 0 {
			return values[len(values)-1]
		}
		return ""
	}
	seq, err := strconv.ParseUint(own(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return entry{}, fmt.Errorf("message of %s without a sequence: %w", m.Subject, err)
	}
	at, err := time.Parse(time.RFC3339Nano, own(jetstream.TimeStampHeaer))
	if err != nil {
		return entry{}, fmt.Errorf("message of %s without a time: %w", m.Subject, err)
	}
	return entry{subject: own(jetstream.SubjectHeader), seq: seq, time: at, header: m.Header, data: m.Data}, nil
}

// A cursor says where to begin to read: at a sequence, or at a time.
type cursor struct {
	seq  uint64
	time time.Time
}

// fetch reads all messages of a stream from the cursor on whose subject matches, in their order. A bucket keeps one
// message a key: reading all gives the newest of each.
func (c *Conn) fetch(ctx context.Context, stream, filter string, from cursor, fn func(entry) error) error {
	for {
		next, more, err := c.fetchBatch(ctx, stream, filter, from, fn)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
		from = cursor{seq: next}
	}
}

// fetchBatch reads one answer: it returns where the next begins, and whether there is more.
func (c *Conn) fetchBatch(ctx context.Context, stream, filter string, from cursor, fn func(entry) error) (next uint64, more bool, err error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	request := struct {
		Seq      uint64     `json:"seq,omitempty"`
		Start    *time.Time `json:"start_time,omitempty"`
		NextFor  string     `json:"next_by_subj"`
		Batch    int        `json:"batch"`
		MaxBytes int        `json:"max_bytes"`
	}{Seq: max(from.seq, 1), NextFor: filter, Batch: batchMessages, MaxBytes: batchBytes}
	if !from.time.IsZero() {
		request.Seq, request.Start = 0, &from.time
	}
	data, err := json.Marshal(request)
	if err != nil {
		return 0, false, err
	}
	inbox := c.nc.NewInbox()
	// A channel gives messages as they are: the client's other ways would take a stored message for a status of the server, if
	// its writer has made it look so.
	answers := make(chan *nats.Msg, batchMessages+1)
	sub, err := c.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return 0, false, fmt.Errorf("read %s: %w", filter, unavailable(err))
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection has ended
	if err := c.nc.PublishRequest(wire.Get(stream), inbox, data); err != nil {
		return 0, false, fmt.Errorf("read %s: %w", filter, unavailable(err))
	}
	for {
		var m *nats.Msg
		select {
		case m = <-answers:
		case <-ctx.Done():
			return 0, false, fmt.Errorf("read %s: %w", filter, unanswered(ctx, ctx.Err()))
		case <-c.ctx.Done():
			return 0, false, fmt.Errorf("read %s: %w", filter, ErrUnavailable)
		}
		if m.Header.Get(jetstream.SequenceHeader) == "" { // what is stored has one
			return endOfBatch(m, filter, next)
		}
		e, err := readEntry(m)
		if err != nil {
			return 0, false, err
		}
		next = e.seq + 1
		if err := fn(e); err != nil {
			return 0, false, err
		}
	}
}

// endOfBatch reads the status that the server ends an answer with.
func endOfBatch(m *nats.Msg, filter string, next uint64) (uint64, bool, error) {
	switch status := m.Header.Get("Status"); status {
	case "204": // the end of the batch
		return next, m.Header.Get("Nats-Num-Pending") != "0" && next > 0, nil
	case "404": // nothing from there on
		return 0, false, nil
	case "503": // nobody is there to answer
		return 0, false, errNoStore
	default:
		return 0, false, fmt.Errorf("read %s: the server answers %q %s", filter, status, m.Header.Get("Description"))
	}
}

// fetchBucket reads keys of a bucket that are there, by key. A bucket that does not exist holds nothing.
func (c *Conn) fetchBucket(ctx context.Context, bucket, filter string) (map[string]entry, error) {
	found := map[string]entry{}
	prefix := wire.Key(bucket, "")
	err := c.fetch(ctx, wire.Stream(bucket), wire.Key(bucket, filter), cursor{}, func(e entry) error {
		if key := strings.TrimPrefix(e.subject, prefix); e.deleted() {
			delete(found, key)
		} else {
			found[key] = e
		}
		return nil
	})
	if errors.Is(err, errNoStore) {
		return found, nil
	}
	return found, err
}
