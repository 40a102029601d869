// Package bus carries assignments, routes and blobs from the controller to the nodes, their status back, the leader's
// lease, events, and the streams of logs and commands: over NATS with JetStream, embedded or external.
//
// What is kept is levels: whole values under a key, of which only the newest counts. A watch reads its keys from the
// store, and follows what the server repeats of every later write with its sequence; after each reconnection, and when
// the store itself was lost, it reads again. A message that is lost, doubled or late therefore heals by itself.
//
// Watches are plain subscriptions and reads, not JetStream consumers. A consumer delivers to any subject that it is
// created with, past its owner's permissions, so that a node allowed to make one could have the server write
// assignments for it. It is also what an idle server would spend most memory on.
package bus
