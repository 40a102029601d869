// Package cdi knows a machine's devices by their specifications in the Container Device Interface
// (https://github.com/cncf-tags/container-device-interface), which the vendors' own tools write, and puts them into containers.
package cdi
