// Package ingress lets HTTP from outside in: it takes requests on ports of the machine and sends them, by the host and the
// path that they ask for, straight to the ready endpoints of services.
package ingress
