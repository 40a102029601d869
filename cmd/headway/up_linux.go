package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// upDir is where a machine that runs all in one keeps its data.
const upDir = "/var/lib/headway"

// upContextPath is where the context of such a machine is looked for when nothing else is named.
const upContextPath = upDir + "/context.json"

func (a app) upCommand() *cobra.Command {
	var (
		server serverOptions
		node   nodeOptions
		dir    string
	)
	c := &cobra.Command{
		Use:   "up",
		Short: "Run all in one on this machine",
		Long: `Run all in one on this machine: the bus, the control plane and a node. It needs root and a containerd that runs.
When it ends, the pods run on; "headway node --cleanup" removes them.`,
		Example: `  headway up --repo ~/my-manifests
  headway up --repo https://git.example/fleet.git --branch main --path clusters/home`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server.dir, server.listen = filepath.Join(dir, "server"), "127.0.0.1:4222"
			node.dir, node.runDir = filepath.Join(dir, "node"), "/run/headway/node"
			node.serviceCIDR, node.verbose = server.serviceCIDR, server.verbose
			return runUp(c.Context(), server, node, filepath.Join(dir, "context.json"), a.logger(server.verbose))
		},
	}
	server.flags(c)
	node.flags(c)
	c.Flags().StringVar(&node.podCIDR, "pod-cidr", "10.244.0.0/24", "range of this machine's pods, within --cluster-cidr")
	c.Flags().StringVar(&dir, "dir", upDir, "where to keep everything")
	return c
}

// runUp runs the control plane and a node in one process.
func runUp(ctx context.Context, server serverOptions, node nodeOptions, contextPath string, log *slog.Logger) error {
	started := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return runServer(ctx, server, started, log) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-started:
		}
		node.credentials = filepath.Join(server.dir, "bus", "credentials", "node.json")
		f := fleet{
			Credentials: filepath.Join(server.dir, "bus", "credentials", "operator.json"),
			Repository:  server.repo, Branch: server.branch, Path: server.path,
		}
		if err := f.save(contextPath); err != nil {
			return fmt.Errorf("write the context: %w", err)
		}
		return runNode(ctx, node, log)
	})
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
