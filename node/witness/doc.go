// Package witness has nodes ask one another, past the bus, whether they have lost the leader, or have only
// just found one again (tenure.Keeper.Vouches).
//
// It is one datagram each way between nodes' own addresses, of which each node knows the others'. The question is a number
// by chance, sealed to the key that the asked node joined with: only that node can read it, and its answer is made with it,
// so that no other can answer. Anyone who can reach a node can ask it; an answer says nothing but yes or no.
package witness
