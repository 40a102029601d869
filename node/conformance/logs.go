package conformance

import (
	"context"
	"io"
	"strings"
	"time"

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

// logTimes asks when lines were written, also what was while no daemon ran.
func logTimes(s *stage) {
	const apart = time.Second // and more than the node takes to look
	began := time.Now()
	uid := s.run("web", `
containers:
- {name: web, image: IMAGE, command: [/bin/sh, -c, "echo one; sleep 1.5; echo two; echo three; sleep 3600"]}`)
	s.until("it says something", func() bool { return s.log(uid) != "" })
	s.until("it says all", func() bool { return strings.HasSuffix(s.log(uid), "three\n") })
	s.start()
	var times []time.Time
	s.until("the new daemon knows of it", func() bool { return s.log(uid) != "" })
	text, failure := s.readLog(uid, api.LogOptions{Timestamps: true})
	for line := range strings.Lines(text) {
		stamp, _, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			s.Fatalf("no time before %q: %v", line, err)
		}
		times = append(times, at)
	}
	switch {
	case failure != "" || len(times) != 3:
		s.Fatalf("%q, %s", text, failure)
	case times[0].Before(began.Add(-time.Second)), times[1].Sub(times[0]) < apart, times[2].After(time.Now()):
		s.Errorf("the times are not those of the lines, since %v:\n%s", began, text)
	}
	if late, failure := s.readLog(uid, api.LogOptions{Since: times[1]}); late != "two\nthree\n" || failure != "" {
		s.Errorf("since %v: %q, %s", times[1], late, failure)
	}
	if none, failure := s.readLog(uid, api.LogOptions{Since: time.Now().Add(time.Minute)}); none != "" || failure != "" {
		s.Errorf("since what is to come: %q, %s", none, failure)
	}
}
