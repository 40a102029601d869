package schema

import (
	"slices"
	"sync"
)

// An order remembers how the objects of the last tree were sorted. A commit changes few files of many, so the next tree
// is sorted by taking out and putting in what changed.
type order struct {
	mu      sync.Mutex
	parts   []*fileResult
	objects []*declared
}

// sorted gives the named objects of the parts, ordered by ref, then by position. The parts should come in the order of
// the last call, as far as they are the same. The slice is the caller's own.
func (o *order) sorted(parts []*fileResult) []*declared {
	parts = slices.DeleteFunc(slices.Clone(parts), func(p *fileResult) bool { return len(p.objects) == 0 })
	o.mu.Lock()
	before, last := o.parts, o.objects
	o.mu.Unlock()
	gone, added := changed(before, parts)
	objects := make([]*declared, 0, len(last)+len(added))
	for _, d := range last {
		if len(gone) > 0 && gone[d] {
			continue
		}
		for len(added) > 0 && compareDeclared(added[0], d) < 0 {
			objects = append(objects, added[0])
			added = added[1:]
		}
		objects = append(objects, d)
	}
	objects = append(objects, added...)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parts, o.objects = parts, slices.Clone(objects)
	return objects
}

// changed gives the objects that went from one list of parts to another, and those that came, the latter sorted.
func changed(from, to []*fileResult) (gone map[*declared]bool, added []*declared) {
	for len(from) > 0 && len(to) > 0 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	for len(from) > 0 && len(to) > 0 && from[len(from)-1] == to[len(to)-1] {
		from, to = from[:len(from)-1], to[:len(to)-1]
	}
	gone = map[*declared]bool{}
	for _, p := range from {
		for _, d := range p.objects {
			gone[d] = true
		}
	}
	for _, p := range to {
		for _, d := range p.objects {
			switch {
			case gone[d]:
				delete(gone, d) // it stays
			case d.ref.Name != unnamed:
				added = append(added, d)
			}
		}
	}
	slices.SortStableFunc(added, compareDeclared)
	return gone, added
}

func compareDeclared(a, b *declared) int {
	if c := a.ref.Compare(b.ref); c != 0 {
		return c
	}
	return comparePositions(a.source, b.source)
}
