// Package conformance holds the suite that every implementation of the node's runtime must pass: the fake that the
// agent is tested against, and the real one. What the suite asks of both, the agent may rely on.
package conformance
