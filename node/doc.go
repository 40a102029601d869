// Package node drives one machine to its assignment: it takes up the whole set of pods that the controller placed here,
// moves each through its life in single steps, and reports what it observes.
//
// The package holds no effect of its own. What it needs of the machine stands as small interfaces in ports.go, which the
// packages below it implement with one library each.
package node
