package node

import (
	"context"
	"io"
	"net"

	"headway.dev/headway/api"
)

// A Meter is a runtime that measures what its containers use.
type Meter interface {
	// Metrics measures every running container, ordered by pod and name.
	Metrics(ctx context.Context) ([]api.ContainerUsage, error)
	// MachineUsage measures the machine.
	MachineUsage() (api.Usage, error)
}

// A Forwarder is a runtime that makes connections from inside of a pod.
type Forwarder interface {
	// Dial connects to a TCP port of the container's own loopback.
	Dial(ctx context.Context, id string, port uint16) (net.Conn, error)
}

// A FileCopier is a runtime that reads and writes the files of its running containers, whether or not they hold a tar
// program. What it is given and what it finds may be hostile: no name and no link leads out of the container.
type FileCopier interface {
	// ReadFiles writes a file, or a directory with all below it, as a tar archive. What cannot be copied, such as a
	// device, is left out and told to skipped.
	ReadFiles(ctx context.Context, id, path string, archive io.Writer, skipped func(why string)) error
	// WriteFiles unpacks a tar archive into a directory, or as the path if that is none.
	WriteFiles(ctx context.Context, id, path string, archive io.Reader) error
}
