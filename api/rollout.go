package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// RolloutAnnotation has a Deployment change its template in steps: "canary 10% 5m, 50%". Each step is the share of the
	// pods, and of their service's connections, that have the new template, and how long that is looked at before the next
	// step. A step without a duration waits for PromoteAnnotation. After the last step the rest follows.
	//
	// Or in one step: "blue-green 5m". All new pods are made beside the old ones, which go on having all connections; five
	// minutes after the new ones are available, these get all of them at once, and the old ones end. With 0s they get them as
	// soon as they are available.
	RolloutAnnotation = "headway.dev/rollout"
	// PromoteAnnotation lets a rollout in steps go on before its time: the commit that began it, or the beginning of its name
	// (at least seven digits), and after a slash the number of the step that need be waited for no longer, with those before
	// it: "3f2a91c/1". Without a step it is all of them. A later rollout, by another commit, has nothing of it.
	PromoteAnnotation = "headway.dev/promote"
)

// A Canary is a rollout in steps; at least one.
type Canary struct {
	Steps []CanaryStep
	// BlueGreen has one step, without a weight: all new pods are there, and have no connections.
	BlueGreen bool
}

// A CanaryStep is one step of a rollout.
type CanaryStep struct {
	Weight Percent // 1 to 99, more than the step before
	// Pause is how long the step lasts from when its pods are available; UntilPromoted is until a commit ends it.
	Pause time.Duration
}

// UntilPromoted is the pause of a step that has no end of its own.
const UntilPromoted time.Duration = -1

// ParseCanary reads a RolloutAnnotation.
func ParseCanary(text string) (Canary, error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if kind == "blue-green" {
		return parseBlueGreen(strings.TrimSpace(rest))
	}
	if kind != "canary" || strings.TrimSpace(rest) == "" {
		return Canary{}, fmt.Errorf("%q is no rollout in steps: write canary and its steps, such as canary 10%% 5m, 50%%, or blue-green 5m", text)
	}
	var c Canary
	for part := range strings.SplitSeq(rest, ",") {
		words := strings.Fields(part)
		if len(words) < 1 || len(words) > 2 {
			return Canary{}, fmt.Errorf("%q is no step: write a percentage, and how long it lasts, such as 10%% 5m", strings.TrimSpace(part))
		}
		digits, ok := strings.CutSuffix(words[0], "%")
		weight, err := strconv.Atoi(digits)
		if !ok || err != nil || weight < 1 || weight > 99 {
			return Canary{}, fmt.Errorf("%q is not a percentage from 1%% to 99%%", words[0])
		}
		step := CanaryStep{Weight: Percent(weight), Pause: UntilPromoted}
		if n := len(c.Steps); n > 0 && step.Weight <= c.Steps[n-1].Weight {
			return Canary{}, fmt.Errorf("step %d has %s, which is not more than the %s of the step before", n+1, step.Weight, c.Steps[n-1].Weight)
		}
		if len(words) == 2 {
			if step.Pause, err = time.ParseDuration(words[1]); err != nil || step.Pause <= 0 {
				return Canary{}, fmt.Errorf("%q is not a duration such as 5m", words[1])
			}
		}
		c.Steps = append(c.Steps, step)
	}
	return c, nil
}

// parseBlueGreen reads what follows on "blue-green": a duration, or nothing.
func parseBlueGreen(pause string) (Canary, error) {
	step := CanaryStep{Pause: UntilPromoted}
	if pause != "" {
		var err error
		if step.Pause, err = time.ParseDuration(pause); err != nil || step.Pause < 0 {
			return Canary{}, fmt.Errorf("%q is not how long the new pods stand beside the old ones before they take over, such as 5m", pause)
		}
	}
	return Canary{Steps: []CanaryStep{step}, BlueGreen: true}, nil
}

// A Promotion is what a PromoteAnnotation says.
type Promotion struct {
	Commit string // the beginning of its name
	Step   int    // the last step that is not waited for; 0 is all
}

// String is the annotation's text.
func (p Promotion) String() string {
	if p.Step == 0 {
		return p.Commit
	}
	return p.Commit + "/" + strconv.Itoa(p.Step)
}

// minCommit is how many digits must name a commit.
const minCommit = 7

// ParsePromotion reads a PromoteAnnotation.
func ParsePromotion(text string) (Promotion, error) {
	commit, step, stepped := strings.Cut(strings.TrimSpace(text), "/")
	if len(commit) < minCommit || strings.Trim(commit, "0123456789abcdef") != "" {
		return Promotion{}, fmt.Errorf("%q names no commit: write at least %d digits of the one that began the rollout, such as 3f2a91c", commit, minCommit)
	}
	p := Promotion{Commit: commit}
	if !stepped {
		return p, nil
	}
	n, err := strconv.Atoi(step)
	if err != nil || n < 1 {
		return Promotion{}, fmt.Errorf("%q is not the number of a step: the first is 1", step)
	}
	p.Step = n
	return p, nil
}

// Lifts reports whether the promotion lets a rollout that a commit began go past a step, counted from 1.
func (p Promotion) Lifts(commit string, step int) bool {
	return p.Commit != "" && strings.HasPrefix(commit, p.Commit) && (p.Step == 0 || step <= p.Step)
}

// A CanaryStatus is how far a rollout in steps is.
type CanaryStatus struct {
	// Step counts from 1; one more than there are steps is that all are done, and the rest follows.
	Step int `json:"step"`
	// Weight is the share of connections that goes to the new pods; 0 is as many as their number is.
	Weight Percent `json:"weight,omitempty"`
	// Serving is, in a blue-green rollout, the template whose pods alone have connections.
	Serving Digest `json:"serving,omitempty"`
	// Reached is since when the step's pods are all available; zero until then.
	Reached time.Time `json:"reached,omitzero"`
	// Reason says, for a person, what the step is and why it began, and once it is reached what the next one waits for.
	Reason string `json:"reason,omitempty"`
}
