// Package api holds the messages that cross headway's borders: from the compiler to the planner, from the controller
// over the bus to the nodes, and from the nodes to the command line.
//
// They are plain data. Every field says which part writes it; no other part does.
package api
