package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"headway.dev/headway/node"
)

// imageGCOptions are the flags that say when images that nobody uses have to go, named as the kubelet's.
type imageGCOptions struct {
	high, low int
	minAge    time.Duration
}

func (o *imageGCOptions) flags(f *pflag.FlagSet) {
	f.IntVar(&o.high, "image-gc-high-threshold", 85, "per cent of the images' disk in use, from which on unused images are removed (100: only before pods are evicted)")
	f.IntVar(&o.low, "image-gc-low-threshold", 80, "per cent of that disk in use, down to which they are removed")
	f.DurationVar(&o.minAge, "minimum-image-ttl-duration", 2*time.Minute, "how long an image stays at least since it came or was last used")
}

func (o *imageGCOptions) settings() (node.ImageGC, error) {
	if o.high < 1 { // inside of the node 0 has images never removed
		return node.ImageGC{}, fmt.Errorf("--image-gc-high-threshold %d: it takes a share from 1 to 100 per cent", o.high)
	}
	return node.ImageGC{High: o.high, Low: o.low, MinAge: o.minAge}, nil
}
