package containerd

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
)

// The labels of an image.
const (
	// labelOurs is on images that headway brought here, and says how: no other is ever removed for its room.
	labelOurs = "headway.dev/image"
	// labelUsed is written when an image is found to be used. What counts is when its record was written.
	labelUsed = "headway.dev/used"
	// labelPinned keeps an image on the machine, and so does the label of containerd's own plugin for Kubernetes.
	labelPinned    = "headway.dev/pinned"
	labelPinnedCRI = "io.cri-containerd.pinned"
	pinnedCRI      = "pinned"
	// labelPrivate is on images that came by a pod's pull secret: what is on the machine is not thereby every pod's.
	labelPrivate = "headway.dev/private"
	// labelRight begins the name of one for each right by which a registry has given a private image since it came.
	labelRight = "headway.dev/right."
)

// maxRights bounds the rights that are remembered of an image. Those that are forgotten are asked of the registry again.
const maxRights = 64

// The ways by which an image came. One without either may have come by both.
const (
	originPulled   = "pulled"
	originImported = "imported"
)

var errOthers = errors.New("it is on this machine for pods with other pull secrets, and its pull policy Never asks no registry whether this one may have it")

// pulledLabels are those of an image that came by a credential.
func pulledLabels(c credential) map[string]string {
	labels := map[string]string{labelOurs: originPulled}
	if c.own {
		labels[labelPrivate] = "true"
	}
	return labels
}

// mayUse reports whether one with that right may have an image that is on the machine, without asking its registry.
func mayUse(record images.Image, right string) bool {
	if record.Labels[labelPrivate] == "" {
		return true
	}
	_, given := record.Labels[rightLabel(right)]
	return right != "" && given
}

// rightLabel is short, as labels have to be. What it stands for is long enough to be told from all others by a part.
func rightLabel(right string) string { return labelRight + right[:min(len(right), 40)] }

// rightLabels are the rights to an image that are remembered.
func rightLabels(record images.Image) []string {
	var rights []string
	for name := range record.Labels {
		if strings.HasPrefix(name, labelRight) {
			rights = append(rights, name)
		}
	}
	return rights
}

// grant notes rights to a private image, as long as its name stands for that digest. When it does not any more, they have to
// be asked for again.
func (r *Runtime) grant(ctx context.Context, name string, digest digest.Digest, rights ...string) error {
	if len(rights) == 0 {
		return nil
	}
	r.granting.Lock()
	defer r.granting.Unlock()
	service := r.client.ImageService()
	record, err := service.Get(ctx, name)
	if err != nil || record.Target.Digest != digest || record.Labels[labelPrivate] == "" {
		return ignoreNotFound(err)
	}
	labels := maps.Clone(record.Labels)
	if have := rightLabels(record); len(have)+len(rights) > maxRights {
		for _, right := range have {
			delete(labels, right)
		}
	}
	for _, right := range rights {
		labels[right] = "true"
	}
	return r.relabel(ctx, name, labels)
}

// relabel replaces the labels of an image.
func (r *Runtime) relabel(ctx context.Context, name string, labels map[string]string) error {
	_, err := r.client.ImageService().Update(ctx, images.Image{Name: name, Labels: labels}, "labels")
	return ignoreNotFound(err)
}
