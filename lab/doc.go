// Package lab makes a cluster of several nodes on one machine.
//
// Each node is a headway daemon in a network namespace of its own, with a containerd namespace of its own. The nodes and
// the control plane meet on a bridge in the hub, a namespace that has no way out of the machine. What the lab made it
// remembers on disk, so that any later command finds it, and takes away again.
package lab
