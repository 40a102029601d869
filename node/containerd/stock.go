package containerd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"headway.dev/headway/node"
)

var _ node.ImageStore = (*Runtime)(nil)

// useWritten is how exact the use of an image is that outlives the daemon: each time is a write to containerd's disk.
const useWritten = time.Hour

// TakeStock lists the images on the machine. A use outlives the daemon as the time of the last change to the image's
// record: headway changes one only when it is used.
func (r *Runtime) TakeStock(ctx context.Context, named []string) ([]node.StoredImage, error) {
	all, err := r.takeStock(r.scope(ctx), named)
	if err != nil {
		return nil, fmt.Errorf("take stock of the images: %w", err)
	}
	return all, nil
}

func (r *Runtime) takeStock(ctx context.Context, named []string) ([]node.StoredImage, error) {
	wanted := map[string]bool{}
	for _, name := range named {
		if whole := wholeName(name); whole != "" {
			wanted[whole] = true
		}
	}
	standing, parents, err := r.standing(ctx)
	if err != nil {
		return nil, err
	}
	records, err := r.client.ImageService().List(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(records, func(a, b images.Image) int {
		return cmp.Or(cmp.Compare(a.Target.Digest, b.Target.Digest), cmp.Compare(a.Name, b.Name))
	})
	names, digests := map[string]bool{}, map[digest.Digest]bool{}
	var all []node.StoredImage
	for i, record := range records {
		names[record.Name], digests[record.Target.Digest] = true, true
		if i > 0 && records[i-1].Target.Digest == record.Target.Digest {
			continue
		}
		same := records[i:]
		if n := slices.IndexFunc(same, func(o images.Image) bool { return o.Target.Digest != record.Target.Digest }); n >= 0 {
			same = same[:n]
		}
		stored, err := r.stored(ctx, same, wanted, standing, parents)
		if err != nil {
			return nil, err
		}
		all = append(all, stored)
	}
	r.uses.forgetOthers(names, digests)
	return all, nil
}

// standing finds the snapshots that containers stand on, also those that are just being made, and what each snapshot
// stands on itself.
func (r *Runtime) standing(ctx context.Context) (standing map[string]bool, parents map[string]string, err error) {
	standing, parents = map[string]bool{}, map[string]string{}
	err = r.client.SnapshotService(r.options.Snapshotter).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		parents[info.Name] = info.Parent
		if info.Kind != snapshots.KindCommitted {
			standing[info.Parent] = true
		}
		return nil
	})
	return standing, parents, ignoreNotFound(err)
}

// stored describes an image, by all records of its digest.
func (r *Runtime) stored(ctx context.Context, records []images.Image, wanted, standing map[string]bool, parents map[string]string) (node.StoredImage, error) {
	i := node.StoredImage{Digest: records[0].Target.Digest.String()}
	s, err := r.size(ctx, records[0], parents)
	if err != nil && ctx.Err() != nil {
		return i, err
	}
	// Images that differ only by their configuration are used together: one of them alone would free next to nothing.
	i.Parts, i.Used = s.parts, standing[s.chainID]
	for _, record := range records {
		i.Names = append(i.Names, record.Name)
		i.Used = i.Used || wanted[record.Name] || r.uses.of(record.Name).under > 0
		keep, err := r.mustKeep(record)
		if err != nil {
			return i, err
		}
		i.Keep = cmp.Or(i.Keep, keep)
	}
	if err != nil {
		// What stands on it cannot be told.
		i.Keep = cmp.Or(i.Keep, "it cannot be read")
	}
	for _, record := range records {
		last, err := r.lastUse(ctx, record, i.Used)
		if err != nil {
			return i, err
		}
		if last.After(i.LastUsed) {
			i.LastUsed = last
		}
	}
	return i, nil
}

// mustKeep is why an image may not be removed even when nobody uses it.
func (r *Runtime) mustKeep(record images.Image) (string, error) {
	switch origin := record.Labels[labelOurs]; {
	case len(pins(record.Labels)) > 0:
		return "it is pinned", nil
	case origin == "":
		return "headway did not bring it here", nil
	case origin == originPulled:
		return "", nil
	}
	_, found, err := r.store.find(record.Name)
	if err != nil || found {
		return "", err
	}
	return "it was imported, and the image directory has it no more", nil
}

// lastUse is when an image was last used by that name, and notes a use of now.
func (r *Runtime) lastUse(ctx context.Context, record images.Image, used bool) (time.Time, error) {
	if used {
		r.uses.note(record.Name)
	}
	written := record.UpdatedAt
	if written.After(time.Now()) { // the clock was wrong
		written = r.uses.began
	}
	last := r.uses.of(record.Name).last
	if !last.After(written) {
		return written, nil
	}
	if last.Sub(written) < useWritten {
		return last, nil
	}
	record.Labels = map[string]string{labelUsed: last.UTC().Format(time.RFC3339)}
	_, err := r.client.ImageService().Update(ctx, record, "labels."+labelUsed)
	return last, ignoreNotFound(err)
}

// size measures what an image takes, packed and unpacked.
func (r *Runtime) size(ctx context.Context, record images.Image, parents map[string]string) (size, error) {
	if s, known := r.uses.sizeOf(record.Target.Digest); known {
		return s, nil
	}
	i, err := r.read(ctx, record)
	if err != nil {
		return size{}, err
	}
	manifest, err := images.Manifest(ctx, r.client.ContentStore(), record.Target, platforms.Default())
	if err != nil {
		return size{}, err
	}
	s := size{chainID: i.chainID, parts: []node.ImagePart{{Name: manifest.Config.Digest.String(), Bytes: manifest.Config.Size}}}
	for _, layer := range manifest.Layers {
		s.parts = append(s.parts, node.ImagePart{Name: layer.Digest.String(), Bytes: layer.Size})
	}
	_, unpacked := parents[i.chainID]
	for at := i.chainID; at != ""; at = parents[at] {
		usage, err := r.client.SnapshotService(r.options.Snapshotter).Usage(ctx, at)
		if errdefs.IsNotFound(err) {
			unpacked = false
			break
		} else if err != nil {
			return size{}, err
		}
		s.parts = append(s.parts, node.ImagePart{Name: "snapshot " + at, Bytes: usage.Size})
	}
	// An image may have the same layer twice, which takes its room once.
	slices.SortFunc(s.parts, func(a, b node.ImagePart) int { return cmp.Compare(a.Name, b.Name) })
	s.parts = slices.Compact(s.parts)
	if unpacked {
		r.uses.setSize(record.Target.Digest, s)
	}
	return s, nil
}

// Discard removes images of which stock was taken, and waits until containerd has collected what belonged to them.
func (r *Runtime) Discard(ctx context.Context, all []node.StoredImage) ([]string, error) {
	ctx = r.scope(ctx)
	var gone []string
	for _, i := range all {
		went, err := r.discardImage(ctx, i)
		if err != nil {
			return gone, fmt.Errorf("remove image %s: %w", i.Digest, err)
		}
		if went {
			gone = append(gone, i.Digest)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	return gone, r.collect(ctx)
}

// discardImage removes all names of an image, unless one of them was asked for since stock was taken.
func (r *Runtime) discardImage(ctx context.Context, i node.StoredImage) (bool, error) {
	for _, name := range slices.Sorted(slices.Values(i.Names)) {
		giveBack, err := r.uses.turns.take(ctx, name)
		if err != nil {
			return false, err
		}
		defer giveBack()
		if r.uses.since(name, i.LastUsed) {
			return false, nil
		}
	}
	service := r.client.ImageService()
	for _, name := range i.Names {
		record, err := service.Get(ctx, name)
		if errdefs.IsNotFound(err) || err == nil && record.Target.Digest.String() != i.Digest {
			continue
		} else if err != nil {
			return false, err
		}
		if err := ignoreNotFound(service.Delete(ctx, name)); err != nil {
			return false, err
		}
		r.images.drop(name)
	}
	return true, nil
}

// collect waits until containerd has collected what nothing refers to any more.
func (r *Runtime) collect(ctx context.Context) error {
	// Only a deletion waits for that: it takes something to delete.
	l, err := r.client.LeasesService().Create(ctx, leases.WithRandomID())
	if err != nil {
		return err
	}
	return r.client.LeasesService().Delete(ctx, l, leases.SynchronousDelete)
}
