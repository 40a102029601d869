// Package iptables programs services into the kernel with iptables.
//
// Render says what the rules are, as a pure function of the configuration and the routes. A Router compares them with
// what the kernel has, and hands over the difference in one atomic restore. All that is headway's lies in chains whose
// names begin with HEADWAY-, and in the jumps to them; nothing else is read for meaning or written.
//
// A connection to a cluster IP walks a tree of chains, by the bits of the address, to a rule of its service and port, and
// from there to the service's own chain, which picks an endpoint: so the way is as short with ten thousand services as
// with ten. An address or port that no service with a ready endpoint has is refused at once.
package iptables
