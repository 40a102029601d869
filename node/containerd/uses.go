package containerd

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"headway.dev/headway/node"
)

// uses are when images were asked for since the daemon began, and what is known of their sizes.
type uses struct {
	began time.Time
	// turns has an image asked for before it is removed, or after that, and not meanwhile.
	turns *keyedSlots

	mu     sync.Mutex
	byName map[string]use
	sizes  map[digest.Digest]size
}

// A use of an image by its name.
type use struct {
	under int // how many ask for it now
	last  time.Time
}

// A size is what an image takes. It does not change once the image is unpacked.
type size struct {
	chainID string // the snapshot that containers stand on
	parts   []node.ImagePart
}

func newUses() *uses {
	return &uses{began: time.Now(), turns: newKeyedSlots(1), byName: map[string]use{}, sizes: map[digest.Digest]size{}}
}

// begin notes that an image is asked for, and end that this is over. It waits while the image is being removed.
func (u *uses) begin(ctx context.Context, name string) (end func(), err error) {
	giveBack, err := u.turns.take(ctx, name)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	u.count(name, 1)
	return func() { u.count(name, -1) }, nil
}

func (u *uses) count(name string, more int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.byName[name] = use{under: u.byName[name].under + more, last: time.Now()}
}

// note notes that a name is used now.
func (u *uses) note(name string) { u.count(name, 0) }

func (u *uses) of(name string) use {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byName[name]
}

// since reports whether a name is asked for, or was after that time.
func (u *uses) since(name string, when time.Time) bool {
	known := u.of(name)
	return known.under > 0 || known.last.After(when)
}

func (u *uses) sizeOf(d digest.Digest) (size, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, found := u.sizes[d]
	return s, found
}

func (u *uses) setSize(d digest.Digest, s size) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sizes[d] = s
}

// forgetOthers forgets what is on the machine no more.
func (u *uses) forgetOthers(names map[string]bool, digests map[digest.Digest]bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, known := range u.byName {
		if known.under == 0 && !names[name] {
			delete(u.byName, name)
		}
	}
	for d := range u.sizes {
		if !digests[d] {
			delete(u.sizes, d)
		}
	}
}
