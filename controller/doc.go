// Package controller is the loop that joins the parts: it follows the repository, compiles each commit, merges what the
// nodes report, plans, places, and writes assignments and routes to the bus.
//
// It has two layers. The state (state.go and the files beside it) is plain data with one function, reconcile, that takes
// the time as an argument and returns effects as a value; it has no goroutine and no clock. The Controller owns the
// goroutines, the time and the bus.
//
// All that a controller knows it can learn again, from Git and from the nodes: it may die at any point.
package controller
