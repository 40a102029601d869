package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"headway.dev/headway/bus"
	"headway.dev/headway/lab"
)

// Bus joins the lab's message bus, to watch what commands only show a moment of. Whoever asks closes it.
func (c *Cluster) Bus(ctx context.Context) (*bus.Conn, error) {
	path := filepath.Join(c.labDir(), "context.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var reach struct{ Credentials, Netns string }
	if err := json.Unmarshal(data, &reach); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	credentials, err := bus.LoadCredentials(reach.Credentials)
	if err != nil {
		return nil, err
	}
	return bus.Connect(ctx, bus.Options{Credentials: credentials, Name: "test", Dial: lab.Dialer(reach.Netns)})
}
