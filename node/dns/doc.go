// Package dns answers pods' questions for names: those of services itself, and others by asking the machine's servers.
//
// It follows the DNS-based service discovery of Kubernetes, version 1.1.0: a service's name is its cluster IP, that of a
// headless service the addresses of its endpoints, and named ports are SRV records. Every node answers its own pods from
// the routes that its kernel has, so a name never leads to where the rules do not.
package dns
