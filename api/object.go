package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	// Fingerprint tells what a Secret holds from anything else, and gives nothing of it away. Only Secrets have one.
	Fingerprint Digest `json:"fingerprint,omitempty"`
}

// Hollow is the object without what a Secret holds: its keys stay, with nothing behind them. Other objects are as they are.
func (o Object) Hollow() Object {
	secret, ok := o.Value.(*corev1.Secret)
	if !ok {
		return o
	}
	hollow := *secret
	hollow.Data = emptied(secret.Data)
	hollow.StringData = emptied(secret.StringData)
	if _, ok := secret.Annotations[corev1.LastAppliedConfigAnnotation]; ok { // kubectl repeats there all that it applied
		hollow.Annotations = maps.Clone(secret.Annotations)
		delete(hollow.Annotations, corev1.LastAppliedConfigAnnotation)
	}
	o.Value = &hollow
	return o
}

func emptied[V ~string | ~[]byte](data map[string]V) map[string]V {
	if data == nil {
		return nil
	}
	keys := make(map[string]V, len(data))
	for key := range data {
		keys[key] = V("")
	}
	return keys
}

// MarshalJSON writes Secrets hollow: objects go to the bus, to files and to people, and none of these may have what a
// Secret holds.
func (o Object) MarshalJSON() ([]byte, error) {
	type plain Object
	return json.Marshal(plain(o.Hollow()))
}
