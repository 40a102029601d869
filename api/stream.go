package api

import "time"

// A StreamRequest asks a node for a stream: a container's log, a command run in it, its files, a connection to one of its
// ports, or what the node's pods use. One of the options is set. Written by the command line.
type StreamRequest struct {
	Pod       Ref             `json:"pod"`
	Container string          `json:"container,omitempty"` // empty: the pod's only or first one
	Logs      *LogOptions     `json:"logs,omitempty"`
	Exec      *ExecOptions    `json:"exec,omitempty"`
	Files     *FileOptions    `json:"files,omitempty"`
	Forward   *ForwardOptions `json:"forward,omitempty"`
	// Usage asks for what every container of the node uses, as a NodeUsage in JSON. Pod is zero then.
	Usage bool `json:"usage,omitempty"`
}

// LogOptions choose what of a log is sent.
type LogOptions struct {
	Follow   bool      `json:"follow,omitempty"`
	Previous bool      `json:"previous,omitempty"` // the run before the last restart
	Tail     *int      `json:"tail,omitempty"`     // only the last lines
	Since    time.Time `json:"since,omitzero"`
	// Timestamps has each line begin with when it was written, in RFC 3339.
	Timestamps bool `json:"timestamps,omitempty"`
}

// ExecOptions say what to run.
type ExecOptions struct {
	Command []string `json:"command"`
	Stdin   bool     `json:"stdin,omitempty"`
	// TTY has the command run on a terminal, which has only one output. Size is the terminal's to begin with.
	TTY  bool          `json:"tty,omitempty"`
	Size *TerminalSize `json:"size,omitempty"`
}

// A TerminalSize is that of a terminal, in characters.
type TerminalSize struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// FileOptions say which files of a container are copied, as a tar archive whose names begin with that of the file or
// directory itself.
type FileOptions struct {
	Path string `json:"path"` // in the container; one that is not absolute begins at its working directory
	// Write copies into the container what comes on the stream. If Path is a directory it goes there, else it becomes Path.
	Write bool `json:"write,omitempty"`
}

// ForwardOptions say to which port of a pod the stream is a connection: what is sent as Stdin goes there, what comes back
// is Stdout.
type ForwardOptions struct {
	Port uint16 `json:"port"`
}

// A StreamFrame is one message of a stream, in either direction. The last one from the node has ExitCode or Error, or
// is nothing but the end of the stream.
type StreamFrame struct {
	Stdin    []byte        `json:"stdin,omitempty"`
	StdinEOF bool          `json:"stdinEOF,omitempty"`
	Stdout   []byte        `json:"stdout,omitempty"`
	Stderr   []byte        `json:"stderr,omitempty"`
	Resize   *TerminalSize `json:"resize,omitempty"` // the terminal has this size now
	// StdoutEOF says that nothing more comes out of a connection, which may still take what is sent.
	StdoutEOF bool   `json:"stdoutEOF,omitempty"`
	ExitCode  *int   `json:"exitCode,omitempty"`
	Error     string `json:"error,omitempty"`
}
