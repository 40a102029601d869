package api

import "time"

// A StreamRequest asks a node for a stream: a container's log, or a command run in it. Written by the command line.
type StreamRequest struct {
	Pod       Ref          `json:"pod"`
	Container string       `json:"container,omitempty"` // empty: the pod's only or first one
	Logs      *LogOptions  `json:"logs,omitempty"`
	Exec      *ExecOptions `json:"exec,omitempty"`
}

// LogOptions choose what of a log is sent.
type LogOptions struct {
	Follow   bool      `json:"follow,omitempty"`
	Previous bool      `json:"previous,omitempty"` // the run before the last restart
	Tail     *int      `json:"tail,omitempty"`     // only the last lines
	Since    time.Time `json:"since,omitzero"`
}

// ExecOptions say what to run.
type ExecOptions struct {
	Command []string `json:"command"`
	Stdin   bool     `json:"stdin,omitempty"`
}

// A StreamFrame is one message of a stream, in either direction. The last one from the node has ExitCode or Error, or
// is nothing but the end of the stream.
type StreamFrame struct {
	Stdin    []byte `json:"stdin,omitempty"`
	StdinEOF bool   `json:"stdinEOF,omitempty"`
	Stdout   []byte `json:"stdout,omitempty"`
	Stderr   []byte `json:"stderr,omitempty"`
	ExitCode *int   `json:"exitCode,omitempty"`
	Error    string `json:"error,omitempty"`
}
