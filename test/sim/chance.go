package sim

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"
)

// A chance decides by a seed. What it decides depends on the key and on how often the key was asked for, not on what else
// was asked in between: so that leaving out one fault of a run changes as little as possible of the rest.
type chance struct {
	seed  uint64
	asked map[string]uint64
}

func newChance(seed uint64) *chance { return &chance{seed: seed, asked: map[string]uint64{}} }

// roll gives the dice for the next decision of a key.
func (c *chance) roll(key string) dice {
	n := c.asked[key]
	c.asked[key] = n + 1
	return c.fixed(key, n)
}

// fixed gives the dice of a key that always fall alike.
func (c *chance) fixed(key string, n uint64) dice {
	h := fnv.New64a()
	_, _ = io.WriteString(h, key) // it never fails
	return dice{rand.New(rand.NewPCG(c.seed^h.Sum64(), n^c.seed<<32))}
}

// dice are random numbers for one decision.
type dice struct{ r *rand.Rand }

// in gives a number from 0 up to, not including, n.
func (d dice) in(n int) int { return d.r.IntN(n) }

// percent is true that often in a hundred.
func (d dice) percent(p int) bool { return d.r.IntN(100) < p }

// between gives a time between two. It is to the nanosecond, so that hardly ever two timers of a controller go off at one
// instant: nobody could say which goes first.
func (d dice) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.r.Int64N(int64(most-least)+1))
}

// pick gives one of several.
func pick[T any](d dice, of ...T) T { return of[d.in(len(of))] }
