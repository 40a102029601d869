package tenure

import "time"

// A Contact is what a leader knows of the contact with one node, by the leader's own clock.
type Contact struct {
	// Confirmed is a time at which the node is known to have had an answer of this leader, or later; zero is none.
	Confirmed time.Time
	// Since is since when no contact has been older than Gap.
	Since time.Time
}

// Hear takes in a beat that came at a time. The answer that the beat echoes was given at echoed, so that the beat was sent
// after that; at is the sending time of the newest beat that the node knows to be answered, by the age that it told.
func (c *Contact) Hear(now, echoed time.Time, age time.Duration, t Times) {
	if c.Confirmed.IsZero() || now.Sub(c.Confirmed) >= t.Gap {
		c.Since = now
	}
	if at := echoed.Add(-age); at.After(c.Confirmed) {
		c.Confirmed = at
	}
}

// Steady reports whether the node cannot have taken the leader for lost at any time that matters to what is moved now.
func (c Contact) Steady(now time.Time, t Times) bool {
	return !c.Confirmed.IsZero() && now.Sub(c.Confirmed) < t.Gap && now.Sub(c.Since) >= t.Steady
}
