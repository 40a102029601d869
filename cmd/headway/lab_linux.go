package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/lab"
)

// labContextPath is where a lab's context is looked for when nothing else is named.
const labContextPath = lab.DefaultDir + "/context.json"

// dialerIn reaches a bus that only a network namespace can see.
func dialerIn(netns string) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	return lab.Dialer(netns), nil
}

func (a app) labCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "A cluster of several nodes on this machine",
		Long: `A lab is a cluster of several nodes on one machine: a daemon a node, each in a network namespace of its own, on a
bridge that has no way out of the machine. It needs root, and a containerd that runs.`,
		Example: `  headway lab up --nodes 3 --repo ~/shop
  headway lab cut n2        # the network to n2 is gone
  headway lab heal n2
  headway lab down`,
	}
	dir := lab.DefaultDir
	c.PersistentFlags().StringVar(&dir, "dir", dir, "where the lab keeps what it knows; two labs need two")
	c.AddCommand(a.labUpCommand(&dir), a.labDownCommand(&dir), a.labExecCommand(&dir), a.labStatusCommand(&dir))
	for _, one := range []struct {
		use, short string
		do         func(ctx context.Context, l *lab.Lab, node string) error
	}{
		{"cut NODE", "Take a node off the network; its pods run on", func(_ context.Context, l *lab.Lab, n string) error { return l.Cut(n) }},
		{"heal NODE", "Connect a node again, and start its daemon if it does not run", func(ctx context.Context, l *lab.Lab, n string) error { return l.Heal(ctx, n) }},
		{"kill NODE", "Lose a node for good: network, daemon, pods and disk", func(ctx context.Context, l *lab.Lab, n string) error { return l.Kill(ctx, n) }},
		{"start NAME", "Start the server's or a node's daemon if it does not run", func(ctx context.Context, l *lab.Lab, n string) error { return l.Start(ctx, n) }},
	} {
		c.AddCommand(&cobra.Command{
			Use: one.use, Short: one.short, Args: cobra.ExactArgs(1),
			Example: "  headway lab " + one.use[:len(one.use)-4] + "n2",
			RunE: func(c *cobra.Command, args []string) error {
				l, err := lab.Open(dir)
				if err != nil {
					return err
				}
				return one.do(c.Context(), l, args[0])
			},
		})
	}
	return c
}

func (a app) labUpCommand(dir *string) *cobra.Command {
	o := lab.Options{}
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "up",
		Short: "Make a lab and wait until its nodes are ready",
		Example: `  headway lab up --nodes 3 --repo ~/shop
  headway lab up --repo ~/fleet --branch staging --path clusters/lab`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Dir = *dir
			var err error
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			for _, path := range []*string{&o.Repository, &o.ImageDir, &o.RegistryConfig} {
				if *path == "" {
					continue
				}
				if *path, err = filepath.Abs(*path); err != nil {
					return err
				}
			}
			return a.labUp(c.Context(), o, timeout)
		},
	}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", 3, "how many nodes")
	f.StringVar(&o.Name, "name", "lab", "tells labs on one machine apart")
	f.StringVar(&o.Repository, "repo", ".", "local Git repository to follow")
	f.StringVar(&o.Branch, "branch", "", "branch to follow (default: the repository's own)")
	f.StringVar(&o.Path, "path", "", "folder of the repository that holds the manifests")
	f.StringVar(&o.Containerd, "containerd", defaultContainerd(), "containerd's socket (default $HEADWAY_CONTAINERD)")
	f.StringVar(&o.ImageDir, "image-dir", "", "directory of OCI archives that the nodes import")
	f.StringVar(&o.RegistryConfig, "registry-config", "", "directory of hosts.toml files, as containerd's certs.d")
	f.StringVar(&o.FailoverLease, "failover-lease", "", "how long a node may be silent before its StatefulSets' pods are replaced (default: the server's)")
	f.StringVar(&o.NodeLease, "node-lease", "", "how long a node may be silent (default: the server's)")
	f.StringVar(&o.AutoscalerPeriod, "autoscaler-period", "", "how often autoscalers reckon (default: the server's)")
	f.DurationVar(&timeout, "timeout", time.Minute, "how long to wait for the nodes")
	return c
}

// labUp leaves nothing behind when it fails.
func (a app) labUp(ctx context.Context, o lab.Options, timeout time.Duration) error {
	l, err := lab.Up(ctx, o)
	if l == nil {
		return err
	}
	if err == nil {
		err = a.labReady(ctx, l, o, timeout)
	}
	if err != nil {
		return errors.Join(err, l.Down(context.WithoutCancel(ctx)))
	}
	return nil
}

func (a app) labReady(ctx context.Context, l *lab.Lab, o lab.Options, timeout time.Duration) error {
	if err := l.Start(ctx); err != nil {
		return err
	}
	f := fleet{Credentials: l.Credentials(), Netns: l.HubNetns(), Repository: o.Repository, Branch: o.Branch, Path: o.Path}
	if err := f.save(filepath.Join(o.Dir, "context.json")); err != nil {
		return err
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	err = a.await(ctx, conn, timeout, func(r api.Report) string {
		ready := 0
		for _, n := range r.Nodes {
			if n.State == "Ready" {
				ready++
			}
		}
		if ready < o.Nodes {
			return fmt.Sprintf("%d of %d nodes are ready", ready, o.Nodes)
		}
		return ""
	})
	if err != nil {
		return fmt.Errorf("%w; the daemons' logs are in %s", err, filepath.Dir(l.LogPath("server")))
	}
	_, err = fmt.Fprintf(a.stderr, "%d nodes are ready. The context is in %s\n", o.Nodes, filepath.Join(o.Dir, "context.json"))
	return err
}

func (a app) labDownCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End the lab and remove all that it made", Example: "  headway lab down", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := lab.Open(*dir)
			if err != nil {
				return err
			}
			return l.Down(c.Context())
		},
	}
}

func (a app) labExecCommand(dir *string) *cobra.Command {
	c := &cobra.Command{
		Use:     "exec NODE -- COMMAND [ARG...]",
		Short:   "Run a command in a node's network (or the hub's)",
		Example: `  headway lab exec n1 -- curl http://10.96.0.80/`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			command, err := commandOf(args, c.ArgsLenAtDash())
			if err != nil {
				return err
			}
			l, err := lab.Open(*dir)
			if err != nil {
				return err
			}
			return l.Exec(args[0], command...)
		},
	}
	dashedCommand(c)
	return c
}

func (a app) labStatusCommand(dir *string) *cobra.Command {
	var out format
	c := &cobra.Command{
		Use: "status", Short: "The lab's daemons", Example: "  headway lab status -o json", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := lab.Open(*dir)
			if err != nil {
				return err
			}
			daemons := l.Status()
			if out != formatTable {
				return printData(a.stdout, out, daemons)
			}
			rows := make([][]string, len(daemons))
			for i, d := range daemons {
				rows[i] = []string{d.Name, strconv.Itoa(d.PID), strconv.FormatBool(d.Running), d.Address, d.Log}
			}
			return printTable(a.stdout, []string{"NAME", "PID", "RUNNING", "ADDRESS", "LOG"}, rows)
		},
	}
	formatFlag(c, &out, formatTable, formatJSON, formatYAML)
	return c
}

// defaultContainerd is the socket that the environment names, or where distributions put it.
func defaultContainerd() string {
	if address := os.Getenv("HEADWAY_CONTAINERD"); address != "" {
		return address
	}
	return "/run/containerd/containerd.sock"
}
