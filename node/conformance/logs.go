package conformance

import (
	"context"
	"io"
	"strings"

	"headway.dev/headway/api"
)

// A logStream keeps what it is sent.
type logStream struct {
	text strings.Builder
	err  string
}

func (l *logStream) Send(_ context.Context, f api.StreamFrame) error {
	l.text.Write(f.Stdout)
	l.err += f.Error
	return nil
}

func (*logStream) Recv(context.Context) (api.StreamFrame, error) { return api.StreamFrame{}, io.EOF }

// log is what the pod's first container has said so far, by the agent; nothing while the agent knows of none.
func (s *stage) log(uid string) string {
	s.Helper()
	text, _ := s.readLog(uid, api.LogOptions{})
	return text
}

// readLog is what the options choose of that, and why it cannot be had.
func (s *stage) readLog(uid string, options api.LogOptions) (text, failure string) {
	p, found := s.bus.pod(uid)
	if !found {
		return "", ""
	}
	var stream logStream
	s.agent.Serve(context.Background(), api.StreamRequest{Pod: p.Placement.Pod, Logs: &options}, &stream)
	return stream.text.String(), stream.err
}
