// Package testnet makes network namespaces for tests, and runs code, commands and connections in them.
//
// A namespace that a test made has no way out: the test cannot reach the machine's own network, nor harm it.
package testnet
