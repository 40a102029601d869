// Package sim runs the real controller, planner and scheduler against a simulated bus, repository and fleet, under
// seeded faults, and checks the invariants of the design at every instant and at every quiet end.
//
// A run is one testing/synctest bubble. In it, the goroutines are the controllers' own; everything else is a queue of
// events that one goroutine, the driver, takes one by one, letting the controllers come to rest after each. A call that a
// controller makes waits until the driver answers it. Calls that come in at one instant are put in an order that depends
// on what they ask alone, and each chance is drawn by a hash of the seed and of what it decides: so a seed determines the
// whole run, however the goroutines are scheduled.
//
// The bus is simulated because a real one has sockets, which a bubble has not; it keeps to the rules that package bus
// documents, down to the steps of a change of the routes and of the lease (see docs/decisions/0016-simulated-bus.md).
package sim
