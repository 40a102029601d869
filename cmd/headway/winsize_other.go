//go:build !unix

package main

import "os"

// sizeChanges never signals: this system does not say when a terminal changes its size.
func sizeChanges() (changes <-chan os.Signal, stop func()) { return nil, func() {} }
