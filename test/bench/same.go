package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// specOfPod gives the specification of a container that the node runs, as one that needs no pod: its namespaces are new ones, and
// its files are empty. What headway takes longer than containerd does with it is headway's own.
func (b *bench) specOfPod(ctx context.Context) (*specs.Spec, error) {
	all, err := b.bare.client.NamespaceService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.DeleteFunc(all, func(name string) bool { return name == bareNamespace }) {
		ctx := namespaces.WithNamespace(ctx, name)
		containers, err := b.bare.client.Containers(ctx, fmt.Sprintf("image==%q", image))
		if err != nil {
			return nil, err
		}
		if len(containers) > 0 {
			return b.specOf(ctx, containers[0])
		}
	}
	return nil, errors.New("no container of the node is found")
}

func (b *bench) specOf(ctx context.Context, container client.Container) (*specs.Spec, error) {
	spec, err := container.Spec(ctx)
	if err != nil {
		return nil, err
	}
	spec.Annotations = nil
	spec.Process.Env = append(slices.DeleteFunc(spec.Process.Env, isItemsFile), itemsFile)
	for i := range spec.Linux.Namespaces {
		spec.Linux.Namespaces[i].Path = ""
	}
	for i, m := range spec.Mounts {
		if m.Type != "bind" {
			continue
		}
		if spec.Mounts[i].Source, err = b.standIn(m.Source, i); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

func isItemsFile(env string) bool { return strings.HasPrefix(env, "ITEMS_FILE=") }

// standIn makes an empty file, or a directory, for one that ends with its pod.
func (b *bench) standIn(source string, number int) (string, error) {
	info, err := os.Stat(source)
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, fmt.Sprint("mount-", number))
	if info.IsDir() {
		return path, os.Mkdir(path, 0o755)
	}
	return path, os.WriteFile(path, nil, 0o644)
}
