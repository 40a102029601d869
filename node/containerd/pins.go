package containerd

import (
	"context"
	"maps"

	"github.com/containerd/containerd/v2/core/images"
)

// pins are the labels that say that an image is to stay.
func pins(labels map[string]string) map[string]string {
	found := maps.Clone(labels)
	maps.DeleteFunc(found, func(name, value string) bool {
		return (name != labelPinned || value == "") && (name != labelPinnedCRI || value != pinnedCRI)
	})
	return found
}

// pinned gives the pins of all images that have any, by name.
func (r *Runtime) pinned(ctx context.Context) (map[string]map[string]string, error) {
	records, err := r.client.ImageService().List(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]string{}
	for _, record := range records {
		if found := pins(record.Labels); len(found) > 0 {
			all[record.Name] = found
		}
	}
	return all, nil
}

// pin puts pins on an image, and leaves its other labels.
func (r *Runtime) pin(ctx context.Context, name string, labels map[string]string) error {
	if len(labels) == 0 {
		return nil
	}
	var fields []string
	for label := range labels {
		fields = append(fields, "labels."+label)
	}
	_, err := r.client.ImageService().Update(ctx, images.Image{Name: name, Labels: labels}, fields...)
	return ignoreNotFound(err)
}
