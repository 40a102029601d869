// Package schema turns a tree of manifests, in YAML, JSON or CUE, into typed objects with defaults, and into every problem
// that stands in the way of one, with its file, line and column.
//
// The CUE files of this package are the one description of the kinds: their fields, ranges, enumerations and defaults, and
// which fields have an effect. They are read once into tables (lower.go) that objects are checked along, whatever language
// they come from; docs/support.md is written from the same tables. What CUE cannot say, or could say only slowly, stands
// in Go: defaults that depend on other fields (defaults.go), rules across the fields of an object (inspect*.go) and
// between objects (link.go).
package schema
