// Package cluster makes what the end-to-end tests, the demonstration and the benchmarks stand on: a lab of several nodes,
// a Git repository that it follows, and a registry on loopback with the shop's images.
//
// It uses headway as people do, by its command line.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"headway.dev/headway/api"
)

// Options say what to make.
type Options struct {
	// Binary is the headway executable; empty builds it.
	Binary string
	Nodes  int
	// Manifests is the first content of the repository.
	Manifests fs.FS
	// Containerd is the socket of the containerd that the nodes share.
	Containerd string
	// Mirrors are further registries, by their public names, that nodes reach Cluster.Registry for.
	Mirrors []string
	// NodeLease is how long a node may be silent; empty is the server's default.
	NodeLease string
	// FailoverLease is how long one may be silent before what must not run twice is replaced; empty is the server's default.
	FailoverLease string
	// AutoscalerPeriod is how often autoscalers reckon; empty is the server's default.
	AutoscalerPeriod string
	// Log takes the words of headway's own standard error.
	Log io.Writer
}

// A Cluster is a lab that is up, with all that belongs to it.
type Cluster struct {
	Dir      string // removed by Close
	Binary   string
	Client   string // the shop's client program
	Repo     *Repo
	Registry *Registry
	log      io.Writer
}

// Start makes everything but the first commit, and waits for the nodes.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "headway-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, Binary: o.Binary, Client: filepath.Join(dir, "client"), log: o.Log}
	if err := c.start(ctx, o); err != nil {
		return nil, errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, o Options) error {
	if c.Binary == "" {
		c.Binary = filepath.Join(c.Dir, "headway")
		if err := BuildProgram(ctx, "headway.dev/headway/cmd/headway", c.Binary); err != nil {
			return err
		}
	}
	var err error
	if c.Binary, err = filepath.Abs(c.Binary); err != nil {
		return err
	}
	if err := BuildProgram(ctx, "headway.dev/headway/examples/shop/client", c.Client); err != nil {
		return err
	}
	if c.Registry, err = StartRegistry(); err != nil {
		return err
	}
	for _, program := range []string{"front", "catalog", "client"} {
		if err := c.pushProgram(ctx, program); err != nil {
			return err
		}
	}
	mirrors, err := c.Registry.Mirror(c.Dir, append(o.Mirrors, RegistryHost)...)
	if err != nil {
		return err
	}
	if c.Repo, err = NewRepo(ctx, filepath.Join(c.Dir, "git"), o.Manifests); err != nil {
		return err
	}
	args := []string{
		"lab", "up", "--nodes", strconv.Itoa(o.Nodes), "--name", c.labName(), "--dir", c.labDir(),
		"--repo", c.Repo.Origin, "--branch", "main", "--containerd", o.Containerd, "--registry-config", mirrors,
	}
	if o.NodeLease != "" {
		args = append(args, "--node-lease", o.NodeLease)
	}
	if o.FailoverLease != "" {
		args = append(args, "--failover-lease", o.FailoverLease)
	}
	if o.AutoscalerPeriod != "" {
		args = append(args, "--autoscaler-period", o.AutoscalerPeriod)
	}
	_, err = c.Headway(ctx, args...)
	return err
}

// pushProgram serves one of the shop's programs, under two tags so that there is something to roll out.
func (c *Cluster) pushProgram(ctx context.Context, program string) error {
	binary := filepath.Join(c.Dir, program)
	if err := BuildProgram(ctx, "headway.dev/headway/examples/shop/"+program, binary); err != nil {
		return err
	}
	image, err := ProgramImage(binary)
	if err != nil {
		return err
	}
	return errors.Join(c.Registry.Push(ctx, "shop/"+program+":1.0", image), c.Registry.Push(ctx, "shop/"+program+":1.1", image))
}

// labName differs between clusters on one machine.
func (c *Cluster) labName() string {
	return strings.ToLower(strings.TrimPrefix(filepath.Base(c.Dir), "headway-"))
}

func (c *Cluster) labDir() string { return filepath.Join(c.Dir, "lab") }

// Close takes the lab down and removes everything.
func (c *Cluster) Close(ctx context.Context) error {
	var errs []error
	if _, err := os.Stat(filepath.Join(c.labDir(), "lab.json")); err == nil {
		_, err := c.Lab(ctx, "down")
		errs = append(errs, err)
	}
	if c.Registry != nil {
		errs = append(errs, c.Registry.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(c.Dir))...)
}

// Headway runs a command against the cluster and returns what it printed. A failed command is an *exec.ExitError.
func (c *Cluster) Headway(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Binary, args...)
	if c.Repo != nil {
		cmd.Dir = c.Repo.Work
	}
	cmd.Env = append(os.Environ(), "HEADWAY_CONTEXT="+filepath.Join(c.labDir(), "context.json"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&errs, c.log)
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("headway %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// Lab runs a command of "headway lab".
func (c *Cluster) Lab(ctx context.Context, args ...string) (string, error) {
	return c.Headway(ctx, append([]string{"lab", "--dir", c.labDir()}, args...)...)
}

// Report is what the controller says now.
func (c *Cluster) Report(ctx context.Context) (api.Report, error) {
	return decode[api.Report](c.Headway(ctx, "status", "-o", "json"))
}

// Pods are all pods that the nodes report.
func (c *Cluster) Pods(ctx context.Context) ([]api.PodStatus, error) {
	return decode[[]api.PodStatus](c.Headway(ctx, "get", "pods", "-o", "json"))
}

// Daemons maps the names of the lab's daemons to their process numbers; one that does not run is 0.
func (c *Cluster) Daemons(ctx context.Context) (map[string]int, error) {
	all, err := decode[[]struct {
		Name    string
		PID     int
		Running bool
	}](c.Lab(ctx, "status", "-o", "json"))
	pids := map[string]int{}
	for _, d := range all {
		pids[d.Name] = 0
		if d.Running {
			pids[d.Name] = d.PID
		}
	}
	return pids, err
}

func decode[T any](output string, err error) (T, error) {
	var v T
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal([]byte(output), &v)
}
