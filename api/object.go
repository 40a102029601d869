package api

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
)

// A Revision is one commit of the followed repository.
type Revision struct {
	Branch    string    `json:"branch,omitempty"` // the branch or tag followed
	Commit    string    `json:"commit"`           // full hash, hexadecimal
	Author    string    `json:"author,omitempty"` // Name <address>
	Committer string    `json:"committer,omitempty"`
	Time      time.Time `json:"time,omitzero"` // committer's time
	Message   string    `json:"message,omitempty"`
}

// Short is the abbreviated commit, as people write it.
func (r Revision) Short() string { return ShortCommit(r.Commit) }

// ShortCommit abbreviates a commit hash to the eight digits shown to people.
func ShortCommit(commit string) string {
	if len(commit) > 8 {
		return commit[:8]
	}
	return commit
}

// A Position is a place in a file of the repository; line and column count from one, zero is unknown.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String gives file:line:col, leaving out what is unknown.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// An Object is one declared object, typed and with defaults applied. Written by the compiler; never changed after.
type Object struct {
	Ref    Ref            `json:"ref"`
	Source Position       `json:"source"`
	Value  runtime.Object `json:"value"` // a pointer to a k8s.io/api type, such as *appsv1.Deployment
}
