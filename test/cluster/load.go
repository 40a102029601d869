package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// A Summary is what the shop's client saw.
type Summary struct {
	Requests, Failed         int
	Errors                   []string
	Fronts, Catalogs, Offers map[string]int
	P50, P99, Max            time.Duration
}

// Shop makes requests to the shop's front from a node, by the cluster IP.
func (c *Cluster) Shop(ctx context.Context, node string, requests int) (Summary, error) {
	return decode[Summary](c.Lab(ctx, "exec", node, "--", c.Client, "-n", strconv.Itoa(requests)))
}

// A Load is a client that keeps requesting until it is stopped.
type Load struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

// StartLoad starts a client on a node. It makes at least so many requests before it ends; it takes more flags, such as
// -url for another address than the front's cluster IP.
func (c *Cluster) StartLoad(ctx context.Context, node string, least int, flags ...string) (*Load, error) {
	args := append([]string{"lab", "--dir", c.labDir(), "exec", node, "--", c.Client, "-least", strconv.Itoa(least)}, flags...)
	l := &Load{cmd: exec.CommandContext(ctx, c.Binary, args...)}
	l.cmd.Stdout, l.cmd.Stderr = &l.out, c.log
	return l, l.cmd.Start()
}

// Stop ends the client and returns what it saw.
func (l *Load) Stop() (Summary, error) {
	// "lab exec" has become the client itself.
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return Summary{}, err
	}
	if err := l.cmd.Wait(); err != nil {
		return Summary{}, fmt.Errorf("client: %w", err)
	}
	var s Summary
	return s, json.Unmarshal(l.out.Bytes(), &s)
}
