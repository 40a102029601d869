package controller

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/schema"
)

// A Source follows a repository.
type Source interface {
	// Run calls fn with each new head, and with each failure to learn of one, one after the other, until ctx is done. The
	// first call is for the head that there is.
	Run(ctx context.Context, fn func(Update)) error
}

// An Update is what a source has to tell: a snapshot, or why there is none.
type Update struct {
	Snapshot Snapshot
	Err      error
}

// A Snapshot is the immutable tree of one commit.
type Snapshot interface {
	Revision() api.Revision
	FS() fs.FS
	// Parent gives the first parent; nil without an error where history begins.
	Parent(ctx context.Context) (Snapshot, error)
}

// A Compiler makes typed objects of a tree. Problems of the tree are in its result; an error is one of the machine's, and
// worth another try.
type Compiler interface {
	Compile(ctx context.Context, tree fs.FS) (*schema.Result, error)
}

// A Reverter takes back in Git what a commit did.
type Reverter interface {
	// Undo makes a commit that does so; the message is for people and auditors. The revision's branch says where the commit
	// is: on another than the followed one it is a proposal. An ErrNotUndone is for good.
	Undo(ctx context.Context, commit, message string) (api.Revision, error)
}

// A Lease is the right to write, for as long as its holder leads.
type Lease interface {
	// Term numbers this leader's rule.
	Term() api.Term
	// Raise lifts the term above the one given, which some node has seen.
	Raise(ctx context.Context, above api.Term) error
	// Held reports whether nobody else can lead by now, by this machine's clock.
	Held() bool
}

// State is what the bus holds when a leader begins.
type State struct {
	Nodes         []api.NodeInfo
	Assignments   []api.Assignment
	Routes        []api.Route
	RouteRevision uint64
	RouteTerm     api.Term // the highest by which Routes were written; no leader of an earlier one may write them
	Statuses      []api.NodeStatus
	Report        *api.Report // nil: none was ever written
}

// Bus is the controller's side of the bus. Its watches deliver levels, again after every reconnection, until ctx is done.
type Bus interface {
	// Lead campaigns and calls lead while the lease is held; the context that lead is given ends with the lease.
	Lead(ctx context.Context, id string, ttl time.Duration, lead func(ctx context.Context, lease Lease) error) error
	State(ctx context.Context) (State, error)
	// Objects reads the blob of objects that a report names. Secrets are hollow in it.
	Objects(ctx context.Context, digest api.Digest) ([]api.Object, error)
	// Blobs lists what blobs there are.
	Blobs(ctx context.Context) ([]api.Digest, error)
	// Template reads the blob of a template.
	Template(ctx context.Context, digest api.Digest) (*api.PodTemplate, error)

	WatchNodes(ctx context.Context, fn func([]api.NodeInfo)) error
	WatchStatuses(ctx context.Context, fn func(api.NodeStatus)) error
	WatchAcks(ctx context.Context, fn func(api.Ack)) error
	WatchBeats(ctx context.Context, fn func(api.Heartbeat)) error

	Writer
}

// isOverwritten reports whether the bus refused a write because it does not hold what this leader has read or written, or holds
// what a later term has: then the leader knows too little to go on, and begins anew.
func isOverwritten(err error) bool {
	var refused interface {
		error
		Overwritten() bool
	}
	return errors.As(err, &refused) && refused.Overwritten()
}

// A Writer is what a leader writes to.
type Writer interface {
	PutBlob(ctx context.Context, digest api.Digest, data []byte) error
	PutAssignment(ctx context.Context, assignment api.Assignment) error
	// PutRoutes writes and deletes routes and returns the revision that the table has then.
	PutRoutes(ctx context.Context, term api.Term, changed []api.Route, deleted []api.Ref) (revision uint64, err error)
	// CompleteRoutes says that the bucket holds every route, so that nodes may drop those that they do not find in it.
	CompleteRoutes(ctx context.Context, term api.Term) error
	// Answer answers a node's heartbeat. It waits for nothing, and the answer may be lost.
	Answer(ctx context.Context, grant api.Grant) error
	PutReport(ctx context.Context, report api.Report) error
	PublishEvent(ctx context.Context, event api.Event) error
}
