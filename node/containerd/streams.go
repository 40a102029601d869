package containerd

import (
	"io"
	"reflect"
	"sync"

	"headway.dev/headway/node"
)

// oneAtATime lets both outputs of a command go to one writer, as os/exec does: they come from two ends at the same time.
func oneAtATime(s node.Streams) node.Streams {
	if s.Stdout == nil || s.Stderr == nil || !reflect.TypeOf(s.Stdout).Comparable() || s.Stdout != s.Stderr {
		return s
	}
	shared := &sharedWriter{w: s.Stdout}
	s.Stdout, s.Stderr = shared, shared
	return s
}

// A sharedWriter is written to by several at once.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
