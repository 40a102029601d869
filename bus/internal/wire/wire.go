// Package wire names what is on the bus: buckets, streams and subjects. The client and the embedded server's permissions
// are both written in these names.
package wire

import "fmt"

// The buckets, each a JetStream key-value bucket of that name.
const (
	Nodes       = "nodes"
	Statuses    = "status"
	Acks        = "acks"
	Assignments = "assignments"
	Routes      = "routes"
	Blobs       = "blobs"
	Reports     = "report"
	Leader      = "leader"
)

// Buckets lists all of them.
func Buckets() []string {
	return []string{Nodes, Statuses, Acks, Assignments, Routes, Blobs, Reports, Leader}
}

// Events is the stream of events.
const Events = "events"

// Keys of buckets that hold one thing, or one thing beside the rest.
const (
	LeaseKey  = "lease"
	ReportKey = "current"
	// MarkKey of the routes bucket closes every whole change. Routes have two tokens, so that none can be named so.
	MarkKey = "_complete"
)

// Any stands for every key of a bucket.
const Any = ">"

// Stream is the JetStream stream that holds a bucket.
func Stream(bucket string) string { return "KV_" + bucket }

// Key is the subject under which a bucket stores a key.
func Key(bucket, key string) string { return "$KV." + bucket + "." + key }

// Live is the subject on which the server repeats what it has stored under Key, with its sequence.
func Live(bucket, key string) string { return "headway.live." + bucket + "." + key }

// Heartbeat carries a node's lease renewals.
func Heartbeat(node string) string { return "headway.heartbeat." + node }

// Usage carries what a node's containers use.
func Usage(node string) string { return "headway.usage." + node }

// Grant carries the leader's answers to a node's heartbeats.
func Grant(node string) string { return "headway.grant." + node }

// EventsFrom carries the events of one origin; Any is all of them.
func EventsFrom(origin string) string { return "headway.events." + origin }

// Open asks a node for a stream.
func Open(node string) string { return "headway.open." + node }

// Up carries a stream's frames to the node, Down to the command.
func Up(id string) string { return "headway.stream." + id + ".up" }

// Down carries a stream's frames to the command.
func Down(id string) string { return "headway.stream." + id + ".down" }

// The server's own subjects that are used here.
const (
	// StreamActions is where the server tells of streams made and deleted; the last token is the stream.
	StreamActions = "$JS.EVENT.ADVISORY.STREAM.*.*"
)

// Info is the subject that describes a stream.
func Info(stream string) string { return fmt.Sprintf("$JS.API.STREAM.INFO.%s", stream) }

// Get is the subject that reads from a stream.
func Get(stream string) string { return fmt.Sprintf("$JS.API.DIRECT.GET.%s", stream) }

// Inbox is the prefix of the subjects on which a user receives answers. Each user has its own, so that none can listen
// to what another is told.
func Inbox(user string) string { return "_INBOX_" + user }

// The users of an embedded server.
const (
	Controller = "controller"
	Node       = "node"
	Operator   = "operator"
)
