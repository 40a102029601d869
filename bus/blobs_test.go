package bus_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func digest(content []byte) api.Digest {
	sum := sha256.Sum256(content)
	return api.Digest(hex.EncodeToString(sum[:]))
}

func randomBytes(n int) []byte {
	var seed [32]byte
	content := make([]byte, n)
	if _, err := rand.NewChaCha8(seed).Read(content); err != nil {
		panic(err) // it never fails
	}
	return content
}

// TestBlobs stores and reads content of all sizes.
func TestBlobs(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		controller, node := keeper(t, s), connect(t, s.node)
		ctx := t.Context()
		for _, size := range []int{0, 1, 512 << 10, 512<<10 + 1, 20 << 20} {
			content := randomBytes(size)
			must(t, controller.PutBlob(ctx, digest(content), content))
			must(t, controller.PutBlob(ctx, digest(content), content))
			got, err := node.Blob(ctx, digest(content))
			must(t, err)
			if !bytes.Equal(got, content) {
				t.Errorf("a blob of %d bytes came back otherwise", size)
			}
		}
		if err := controller.PutBlob(ctx, digest([]byte("a")), []byte("b")); err == nil {
			t.Error("content was stored under another digest")
		}
		if _, err := node.Blob(ctx, digest([]byte("none"))); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("a blob that is not there: %v", err)
		}
		if _, err := node.Blob(ctx, "x.y"); err == nil {
			t.Error("what is no digest was looked up")
		}
		keep := digest(randomBytes(1))
		all, err := controller.Blobs(ctx)
		must(t, err)
		if removed, err := controller.PruneBlobs(ctx, func(api.Digest) bool { return false }); err != nil || removed != 0 {
			t.Errorf("%d pruned that are young: %v", removed, err)
		}
		if left, err := controller.Blobs(ctx); err != nil || len(left) != len(all) {
			t.Errorf("of %v are left %v, %v", all, left, err)
		}
		controller.SetBlobAge(0)
		removed, err := controller.PruneBlobs(ctx, func(d api.Digest) bool { return d == keep })
		must(t, err)
		left, err := controller.Blobs(ctx)
		must(t, err)
		if removed != 4 || len(left) != 1 || left[0] != keep {
			t.Errorf("%d pruned, left %v", removed, left)
		}
	})
}

// TestPruneBlobsLate has a leader that was followed prune what its follower is about to use: it stays, whether the follower
// stores it before that one looks, or between its look and its deletion.
func TestPruneBlobsLate(t *testing.T) {
	s := externalSite(t)
	old, follower := keeper(t, s), connect(t, s.controller)
	follower.SetBlobAge(0)            // to the follower all is old, and to be stored again
	content := randomBytes(600 << 10) // in two parts
	d := digest(content)
	ctx := t.Context()
	again := func() { must(t, follower.PutBlob(ctx, d, content)) }
	whole := func(when string) {
		t.Helper()
		if got, err := follower.Blob(ctx, d); err != nil || !bytes.Equal(got, content) {
			t.Errorf("stored again %s, it is not there as a whole: %v", when, err)
		}
	}
	must(t, old.PutBlob(ctx, d, content))
	before := time.Now()
	again()
	if pruned, err := old.PruneBlob(ctx, d, before, func() {}); err != nil || pruned {
		t.Errorf("it was pruned, %t: %v", pruned, err)
	}
	whole("before the look")
	if pruned, err := old.PruneBlob(ctx, d, time.Now(), again); err != nil || !pruned {
		t.Errorf("of what was found nothing was pruned, %t: %v", pruned, err)
	}
	whole("after the look")
	if pruned, err := old.PruneBlob(ctx, d, time.Now(), func() {}); err != nil || !pruned {
		t.Errorf("it was not pruned, %t: %v", pruned, err)
	}
	if _, err := follower.Blob(ctx, d); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("pruned, it is there: %v", err)
	}
}

// TestBlobDamaged tells content that has lost a part, or is not its own.
func TestBlobDamaged(t *testing.T) {
	s := externalSite(t)
	c := keeper(t, s)
	ctx := t.Context()
	content := randomBytes(2 << 20)
	d := digest(content)
	must(t, c.PutBlob(ctx, d, content))
	must(t, c.PurgeSubject(ctx, "KV_blobs", "$KV.blobs."+string(d)+".000002"))
	if _, err := c.Blob(ctx, d); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a blob without one of its parts: %v", err)
	}
	must(t, c.PutBlob(ctx, d, content))
	_, err := c.Blob(ctx, d)
	must(t, err)
}

// TestEvents reads events, from the beginning and from a time, and follows them over the loss of the store.
func TestEvents(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		controller, node, operator := keeper(t, s), connect(t, s.node), connect(t, s.operator)
		ctx := t.Context()
		must(t, operator.Events(ctx, time.Time{}, false, func(e api.Event) { t.Errorf("an event before any: %v", e) }))
		publish := func(c *bus.Conn, origin, kind string) {
			t.Helper()
			deadline := time.Now().Add(patience)
			for {
				err := c.PublishEvent(ctx, api.Event{Time: time.Now(), Origin: origin, Kind: kind})
				if err == nil {
					return
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
				awaitConnected(t, c)
			}
		}
		publish(node, "node/n1", "Created")
		between := time.Now()
		publish(controller, "controller", "Planned")
		followed := watching(t, func(ctx context.Context, fn func(api.Event)) error {
			return operator.Events(ctx, time.Time{}, true, fn)
		})
		followed.await(t, "the second event", func(e api.Event) bool { return e.Kind == "Planned" })
		publish(node, "node/n1", "Stopped")
		followed.await(t, "a live event", func(e api.Event) bool { return e.Kind == "Stopped" })
		if all := followed.list(); len(all) != 3 || all[0].Kind != "Created" {
			t.Errorf("events are %v", all)
		}
		var since []api.Event
		must(t, operator.Events(ctx, between, false, func(e api.Event) { since = append(since, e) }))
		if len(since) != 2 || since[0].Kind != "Planned" {
			t.Errorf("events since then are %v", since)
		}
		s.restart(true)
		publish(node, "node/n1", "Restarted")
		followed.await(t, "an event of the new store", func(e api.Event) bool { return e.Kind == "Restarted" })
		if n := len(followed.list()); n != 4 {
			t.Errorf("%d events were followed, want 4", n)
		}
	})
}
