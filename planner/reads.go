package planner

import (
	"time"

	"headway.dev/headway/api"
)

// reads are what a part of a plan was made of beside what it names itself: it comes out the same as long as they are the same.
type reads struct {
	// from is when the part was made, and until when it would come out differently only because time went by; zero is never.
	from, until time.Time
	// templates are those that were asked for; nil is one that was not at hand.
	templates map[api.Digest]*api.PodTemplate
	// nodes is set where the part depends on what the nodes are, and not only on which of them are drained.
	nodes bool
	// alone is a part that holds for its own plan alone: it does something, depends on what other parts do, or has the time
	// of the plan written into it.
	alone bool
}

// same reports whether the part would come out the same.
func (r *reads) same(in *Input) bool {
	if r.alone || in.Now.Before(r.from) || !r.until.IsZero() && !in.Now.Before(r.until) {
		return false
	}
	for digest, t := range r.templates {
		if in.Templates[digest] != t {
			return false
		}
	}
	return true
}

// changesAt notes a time at which the part that is being made comes out differently.
func (r *reads) changesAt(t time.Time) {
	if r.until.IsZero() || t.Before(r.until) {
		r.until = t
	}
}

// read has what is read from now on noted as what a part is made of, until the function that it gives is called.
func (p *pass) read(r *reads) (done func()) {
	before := p.reads
	*r = reads{from: p.in.Now}
	p.reads = r
	return func() { p.reads = before }
}

// now is the time of the plan, to be written down.
func (p *pass) now() time.Time {
	p.reads.alone = true
	return p.in.Now
}

// passed reports whether a time has come.
func (p *pass) passed(t time.Time) bool {
	if p.in.Now.Before(t) {
		p.reads.changesAt(t)
		return false
	}
	return true
}

// templateAt gives a template of pods as far as it is at hand; nil is that it is not.
func (p *pass) templateAt(digest api.Digest) *api.PodTemplate {
	t := p.in.Templates[digest]
	if _, known := p.reads.templates[digest]; !known {
		if p.reads.templates == nil {
			p.reads.templates = map[api.Digest]*api.PodTemplate{}
		}
		p.reads.templates[digest] = t
	}
	return t
}
