package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// A fleet says how a person's commands reach a cluster. It is a file that "headway up" and "headway lab up" write, and
// that a person writes for a cluster elsewhere.
type fleet struct {
	// Credentials is the file with the bus's address, user and password.
	Credentials string `json:"credentials"`
	// Netns is the network namespace from which the bus can be reached; empty is this one. Linux only.
	Netns string `json:"netns,omitempty"`
	// Repository, Branch and Path are what the cluster follows.
	Repository string `json:"repository,omitempty"`
	Branch     string `json:"branch,omitempty"`
	Path       string `json:"path,omitempty"`
}

// errNoFleet is the error of a command that needs a cluster and was told of none.
var errNoFleet = errors.New("no cluster is known here: start one with \"headway up\" or \"headway lab up\", " +
	"or name a context file with --context or HEADWAY_CONTEXT")

// connectTimeout bounds how long a command waits for a cluster to answer.
const connectTimeout = 5 * time.Second

// fleetFlag adds --context.
func fleetFlag(c *cobra.Command, into *string) {
	c.Flags().StringVar(into, "context", "", "file that says how to reach the cluster (default $HEADWAY_CONTEXT, then what up or lab up wrote)")
}

// findFleet reads the context file that a flag, the environment or a running cluster names.
func findFleet(flag string) (fleet, error) {
	if flag == "" {
		flag = os.Getenv("HEADWAY_CONTEXT")
	}
	if flag != "" {
		return loadFleet(flag)
	}
	candidates := []string{labContextPath, upContextPath}
	if dir, err := os.UserConfigDir(); err == nil {
		candidates = append([]string{filepath.Join(dir, "headway", "context.json")}, candidates...)
	}
	for _, path := range candidates {
		f, err := loadFleet(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		return f, err
	}
	return fleet{}, errNoFleet
}

func loadFleet(path string) (fleet, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return fleet{}, err
	}
	var f fleet
	if err := json.Unmarshal(data, &f); err != nil {
		return fleet{}, fmt.Errorf("context file %s: %w", path, err)
	}
	if f.Credentials == "" {
		return fleet{}, fmt.Errorf("context file %s: \"credentials\" must name the file with the bus's address and password", path)
	}
	return f, nil
}

func (f fleet) save(path string) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o600)
}

// connect reaches the bus of a fleet.
func (f fleet) connect(ctx context.Context) (*bus.Conn, error) {
	credentials, err := bus.LoadCredentials(f.Credentials)
	if err != nil {
		return nil, err
	}
	options := bus.Options{Credentials: credentials, Name: "headway"}
	if f.Netns != "" {
		options.Dial, err = dialerIn(f.Netns)
		if err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := bus.Connect(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("the cluster at %s does not answer: %w", credentials.URL, err)
	}
	return conn, nil
}

// withFleet runs fn with a connection to the cluster that the flag names.
func withFleet(ctx context.Context, flag string, fn func(f fleet, conn *bus.Conn) error) error {
	f, err := findFleet(flag)
	if err != nil {
		return err
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return fn(f, conn)
}

// objectsInForce fetches what the controller has deployed.
func objectsInForce(ctx context.Context, conn *bus.Conn, report api.Report) ([]api.Object, error) {
	if report.Objects == "" {
		return nil, nil
	}
	return controllerBus{conn}.Objects(ctx, report.Objects)
}
