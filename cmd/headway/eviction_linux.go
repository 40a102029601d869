package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"headway.dev/headway/node"
)

// evictionOptions are the flags that say when pods have to go, named as the kubelet's.
type evictionOptions struct {
	hard, reclaim string
	transition    time.Duration
}

func (o *evictionOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.hard, "eviction-hard", "memory.available<100Mi,nodefs.available<10%,imagefs.available<15%",
		"what has to be left of memory and disks: below it pods are evicted (empty: none)")
	f.StringVar(&o.reclaim, "eviction-minimum-reclaim", "", "how much more has to be left before no more pods are evicted, such as nodefs.available=1Gi")
	f.DurationVar(&o.transition, "eviction-pressure-transition-period", 5*time.Minute, "how long new pods are kept away after there is enough again")
}

func (o *evictionOptions) parse() (node.Eviction, error) {
	hard, err := node.ParseAmounts(o.hard, "<")
	if err != nil {
		return node.Eviction{}, fmt.Errorf("--eviction-hard: %w", err)
	}
	reclaim, err := node.ParseAmounts(o.reclaim, "=")
	if err != nil {
		return node.Eviction{}, fmt.Errorf("--eviction-minimum-reclaim: %w", err)
	}
	return node.Eviction{Hard: hard, Reclaim: reclaim, Transition: o.transition}, nil
}
