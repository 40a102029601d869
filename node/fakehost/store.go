package fakehost

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"headway.dev/headway/node"
)

var _ node.ImageStore = images{}

// A storedImage is an image on the machine.
type storedImage struct {
	uses int // how often it was asked for
	last time.Time
}

// sizeOfImage is what every image takes.
const sizeOfImage = 100 << 20

// store notes that an image is asked for, and has it be there. The host is locked.
func (h *Host) store(image string) {
	delete(h.dropped, image)
	h.stored[image] = storedImage{h.stored[image].uses + 1, time.Now()}
}

// AddImage brings one more image to the machine and gives its name.
func (h *Host) AddImage(testing.TB) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := fmt.Sprint("image-", len(h.pulls))
	h.pulls[name] = 0
	h.store(name)
	return name
}

// DropImage takes an image away, until it is asked for again.
func (h *Host) DropImage(_ testing.TB, image string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.stored, image)
	h.dropped[image] = true
}

func (i images) TakeStock(ctx context.Context, named []string) ([]node.StoredImage, error) {
	var all []node.StoredImage
	err := i.h.call(ctx, "TakeStock", "", func() error {
		used := map[string]bool{}
		for _, name := range named {
			used[name] = true
		}
		for _, c := range i.h.containers {
			used[c.config.Container.Image] = true
		}
		for _, name := range slices.Sorted(maps.Keys(i.h.stored)) {
			known := i.h.stored[name]
			if used[name] {
				known.last = time.Now()
				i.h.stored[name] = known
			}
			all = append(all, node.StoredImage{
				Digest: fmt.Sprintf("%s#%d", name, known.uses), Names: []string{name}, Used: used[name], LastUsed: known.last,
				Parts: []node.ImagePart{{Name: name, Bytes: sizeOfImage}},
			})
		}
		return nil
	})
	return all, err
}

// Discard tells a use since stock was taken by the count in the digest: time stands still in a bubble.
func (i images) Discard(ctx context.Context, all []node.StoredImage) ([]string, error) {
	var gone []string
	err := i.h.call(ctx, "Discard", "", func() error {
		for _, image := range all {
			name := image.Names[0]
			if image.Digest == fmt.Sprintf("%s#%d", name, i.h.stored[name].uses) {
				delete(i.h.stored, name)
				gone = append(gone, image.Digest)
			}
		}
		return nil
	})
	return gone, err
}
