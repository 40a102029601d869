// Package network gives pods their namespaces and addresses, and the machine its routes to other nodes' pods, by netlink.
//
// A pod's interface is one end of a veth pair; the other is a port of the node's bridge. The pod's address has no
// neighbours (it is a /32), and its one route goes to the gateway, which is the node itself: so every packet of a pod
// passes the node's IP stack and its rules, towards a pod beside it too. The answer to a connection that was sent to
// another address on the way comes back the way it went, whether or not the kernel hands bridged frames to iptables.
//
// The node routes each of its pods' addresses singly. An address of the cluster's ranges that nobody has is
// unreachable at once: it never waits for a neighbour that does not answer, and never leaves by the default route.
package network
