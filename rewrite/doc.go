// Package rewrite writes manifests in other words that mean the same: it formats YAML and CUE, and turns YAML into CUE.
//
// Nothing it returns is taken on trust. Formatted text is held against the original before it is handed out, and the
// objects of an import are compared by the compiler itself.
package rewrite
