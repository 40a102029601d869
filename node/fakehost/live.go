package fakehost

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"headway.dev/headway/node"
)

var _ node.VolumeUpdater = volumes{}

// Update writes the files of a pod anew, all at once.
func (v volumes) Update(ctx context.Context, config node.VolumeConfig) error {
	return v.h.call(ctx, "Update", config.UID, func() error {
		v.h.files[config.UID] = filesOf(config)
		return nil
	})
}

// filesOf names what a pod has of config maps and secrets, as String prints it. Of secrets that is only how long they are.
func filesOf(config node.VolumeConfig) string {
	var files []string
	for _, name := range slices.Sorted(maps.Keys(config.Configs)) {
		data := config.Configs[name].Data
		for _, key := range slices.Sorted(maps.Keys(data)) {
			files = append(files, fmt.Sprintf("%s/%s=%s", name, key, data[key]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(config.Secrets)) {
		data := config.Secrets[name].Reveal()
		for _, key := range slices.Sorted(maps.Keys(data)) {
			files = append(files, fmt.Sprintf("%s/%s=(%d bytes)", name, key, len(data[key])))
		}
	}
	return strings.Join(files, " ")
}
