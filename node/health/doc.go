// Package health tells load balancers outside of the cluster whether a node has endpoints of a service.
//
// A service that sends connections from outside only to endpoints of the node that they come to may have a port for
// that (healthCheckNodePort). Every node answers there over HTTP: 200 with endpoints of its own, 503 without.
package health
