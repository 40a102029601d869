package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

const (
	// blobPart is the most of a blob that one message carries. The default limit of a NATS server is twice that.
	blobPart    = 512 << 10
	partsHeader = "Headway-Parts"
	// blobAge is how long a blob stays that nobody wants: far longer than a leader may believe that it leads when it does not.
	blobAge = 24 * time.Hour
)

// blobKey is where a part of a blob is stored. The parts sort by number.
func blobKey(digest api.Digest, part string) string { return string(digest) + "." + part }

func checkDigest(digest api.Digest) error {
	if raw, err := hex.DecodeString(string(digest)); err != nil || len(raw) != sha256.Size || strings.ToLower(string(digest)) != string(digest) {
		return fmt.Errorf("%q is not a digest: it must be a SHA-256 in lower-case hexadecimal", digest)
	}
	return nil
}

func digestOf(content []byte) api.Digest {
	sum := sha256.Sum256(content)
	return api.Digest(hex.EncodeToString(sum[:]))
}

// PutBlob stores content under its digest, of any size. Content that is there is not stored again, unless it is so old that a
// leader might be about to prune it.
func (c *Conn) PutBlob(ctx context.Context, digest api.Digest, content []byte) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	if actual := digestOf(content); actual != digest {
		return fmt.Errorf("blob %s: the content's digest is %s", digest.Short(), actual.Short())
	}
	parts := slices.Collect(slices.Chunk(content, blobPart))
	if len(parts) == 0 {
		parts = [][]byte{nil}
	}
	there, err := c.hasBlob(ctx, digest, len(parts))
	if err != nil {
		return fmt.Errorf("blob %s: %w", digest.Short(), err)
	}
	if there {
		return nil
	}
	for i, part := range parts {
		m := &nats.Msg{
			Subject: wire.Key(wire.Blobs, blobKey(digest, partNumber(i))),
			Header:  nats.Header{partsHeader: []string{strconv.Itoa(len(parts))}},
			Data:    part,
		}
		if _, err := c.publish(ctx, m); err != nil {
			return fmt.Errorf("blob %s: %w", digest.Short(), err)
		}
	}
	return nil
}

func partNumber(i int) string { return fmt.Sprintf("%06d", i) }

// hasBlob reports whether all parts of a blob are there, and none of them is so old that it has to be stored again.
func (c *Conn) hasBlob(ctx context.Context, digest api.Digest, parts int) (bool, error) {
	there, err := c.describe(ctx, wire.Stream(wire.Blobs), wire.Key(wire.Blobs, blobKey(digest, wire.Any)), 0)
	if err != nil || len(there.State.Subjects) < parts {
		return false, err
	}
	// The first is as old as any: they are stored in order.
	key := blobKey(digest, partNumber(0))
	first, err := c.fetchBucket(ctx, wire.Blobs, key)
	return time.Since(first[key].time) < c.blobAge/2, err
}

// Blob reads content and checks it against its digest; ErrNotFound when it is not there, or not as a whole.
func (c *Conn) Blob(ctx context.Context, digest api.Digest) ([]byte, error) {
	if err := checkDigest(digest); err != nil {
		return nil, err
	}
	parts, err := c.fetchBucket(ctx, wire.Blobs, blobKey(digest, wire.Any))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest.Short(), err)
	}
	content, err := join(digest, parts)
	if err == nil && digestOf(content) != digest {
		err = errors.New("its content is damaged: it is not that of its digest")
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest.Short(), err)
	}
	return content, nil
}

// join puts the parts of a blob together.
func join(digest api.Digest, parts map[string]entry) ([]byte, error) {
	var content []byte
	for i, count := 0, 1; i < count; i++ {
		part, there := parts[blobKey(digest, partNumber(i))]
		if !there {
			return nil, ErrNotFound
		}
		var err error
		if count, err = strconv.Atoi(part.header.Get(partsHeader)); err != nil {
			return nil, fmt.Errorf("part %d does not say how many there are: %w", i, err)
		}
		content = append(content, part.data...)
	}
	return content, nil
}

// Blobs lists the digests of what is stored, in order.
func (c *Conn) Blobs(ctx context.Context) ([]api.Digest, error) {
	found := map[api.Digest]struct{}{}
	for offset := 0; ; {
		info, err := c.describe(ctx, wire.Stream(wire.Blobs), wire.Key(wire.Blobs, wire.Any), offset)
		if errors.Is(err, errNoStore) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list blobs: %w", err)
		}
		if len(info.State.Subjects) == 0 {
			return slices.Sorted(maps.Keys(found)), nil
		}
		offset += len(info.State.Subjects)
		for subject := range info.State.Subjects {
			digest, _, _ := strings.Cut(strings.TrimPrefix(subject, wire.Key(wire.Blobs, "")), ".")
			found[api.Digest(digest)] = struct{}{}
		}
	}
}

// PruneBlobs deletes the blobs that keep does not want and that have been there for long enough, and returns how many. Content
// is shared and nobody counts its users: only a controller that knows every assignment and its own report can tell.
//
// A leader that has been followed and does not know it yet may prune while its follower writes. It deletes nothing that the
// other needs: what is pruned is old, what is that old is stored anew by whoever wants it (PutBlob), and what was stored since
// it was looked at stays.
func (c *Conn) PruneBlobs(ctx context.Context, keep func(api.Digest) bool) (int, error) {
	digests, err := c.Blobs(ctx)
	if err != nil {
		return 0, err
	}
	digests = slices.DeleteFunc(digests, keep)
	if len(digests) == 0 {
		return 0, nil
	}
	stream, err := c.js.Stream(ctx, wire.Stream(wire.Blobs))
	if err != nil {
		return 0, fmt.Errorf("prune blobs: %w", unavailable(err))
	}
	pruned, before := 0, time.Now().Add(-c.blobAge)
	for _, digest := range digests {
		done, err := c.pruneBlob(ctx, stream, digest, before)
		if err != nil {
			return pruned, fmt.Errorf("prune blob %s: %w", digest.Short(), err)
		}
		if done {
			pruned++
		}
	}
	return pruned, nil
}

// pruneBlob deletes the parts of a blob as they are found, if all of them were stored before a time.
func (c *Conn) pruneBlob(ctx context.Context, stream jetstream.Stream, digest api.Digest, before time.Time) (bool, error) {
	parts, err := c.fetchBucket(ctx, wire.Blobs, blobKey(digest, wire.Any))
	if err != nil {
		return false, err
	}
	for _, part := range parts {
		if !part.time.Before(before) {
			return false, nil
		}
	}
	for _, part := range parts {
		// Up to this one, so that one which has come in its place stays.
		err := stream.Purge(ctx, jetstream.WithPurgeSubject(part.subject), jetstream.WithPurgeSequence(part.seq+1))
		if err != nil {
			return false, unavailable(err)
		}
	}
	return true, nil
}
