package schema

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"headway.dev/headway/api"
)

// maxWireDepth bounds the nesting of values that cross between processes.
const maxWireDepth = 1000

var errWire = errors.New("schema: an evaluation is cut off or garbled")

// MarshalBinary writes an evaluation for UnmarshalBinary of the same program: numbers as varints, each string that is
// met again (names, files) as its place among those met before.
func (e *Evaluation) MarshalBinary() ([]byte, error) {
	w := wireWriter{known: map[string]int{}}
	w.count(len(e.docs))
	for _, d := range e.docs {
		w.value(d, 0)
	}
	w.found(e.objects, e.problems)
	w.strings(e.packages)
	w.count(len(e.open))
	for _, o := range e.open {
		w.name(o.pkg)
		w.found(o.objects, o.problems)
	}
	w.strings(e.read)
	return w.out, w.err
}

// UnmarshalBinary reads what MarshalBinary has written. It takes no more memory than a small multiple of data.
func (e *Evaluation) UnmarshalBinary(data []byte) error {
	r := wireReader{in: data}
	*e = Evaluation{}
	for range r.count() {
		e.docs = append(e.docs, r.value(0))
	}
	e.objects, e.problems = r.found()
	e.packages = r.strings()
	for range r.count() {
		o := openObject{pkg: r.name()}
		o.objects, o.problems = r.found()
		e.open = append(e.open, o)
	}
	e.read = r.strings()
	if len(r.in) > 0 {
		r.bad = true
	}
	if r.bad {
		*e = Evaluation{}
		return errWire
	}
	return nil
}

type wireWriter struct {
	out   []byte
	known map[string]int
	err   error
}

func (w *wireWriter) count(n int) { w.out = binary.AppendUvarint(w.out, uint64(max(0, n))) }

func (w *wireWriter) text(s string) {
	w.count(len(s))
	w.out = append(w.out, s...)
}

func (w *wireWriter) name(s string) {
	if i, ok := w.known[s]; ok {
		w.count(i + 1)
		return
	}
	w.known[s] = len(w.known)
	w.count(0)
	w.text(s)
}

func (w *wireWriter) strings(all []string) {
	w.count(len(all))
	for _, s := range all {
		w.name(s)
	}
}

func (w *wireWriter) position(p api.Position) {
	w.name(p.File)
	w.count(p.Line)
	w.count(p.Column)
}

func (w *wireWriter) ref(r api.Ref) { w.strings([]string{r.Kind, r.Namespace, r.Name}) }

func (w *wireWriter) value(v *value, depth int) {
	if depth > maxWireDepth {
		w.err = fmt.Errorf("schema: nested more than %d deep", maxWireDepth)
		return
	}
	w.out = append(w.out, byte(v.kind))
	w.position(v.pos)
	w.text(v.text)
	w.text(v.written)
	w.count(len(v.items))
	for _, i := range v.items {
		w.value(i, depth+1)
	}
	w.count(len(v.fields))
	for _, f := range v.fields {
		w.name(f.name)
		w.position(f.pos)
		w.value(f.value, depth+1)
	}
}

func (w *wireWriter) found(objects []*declared, problems []api.Problem) {
	w.count(len(objects))
	for _, d := range objects {
		w.ref(d.ref)
		w.position(d.source)
	}
	w.count(len(problems))
	for _, p := range problems {
		w.position(p.Source)
		w.ref(p.Ref)
		w.name(p.Field)
		w.text(p.Message)
		warning := 0
		if p.Warning {
			warning = 1
		}
		w.count(warning)
	}
}

// A wireReader reads nothing more once it has met what no wireWriter writes.
type wireReader struct {
	in    []byte
	known []string
	bad   bool
}

func (r *wireReader) fail() {
	r.bad, r.in = true, nil
}

func (r *wireReader) number() int {
	n, size := binary.Uvarint(r.in)
	if size <= 0 || n > math.MaxInt32 {
		r.fail()
		return 0
	}
	r.in = r.in[size:]
	return int(n)
}

// count reads how many items follow, each of which takes a byte at least.
func (r *wireReader) count() int {
	n := r.number()
	if n > len(r.in) {
		r.fail()
		return 0
	}
	return n
}

func (r *wireReader) text() string {
	n := r.count()
	s := string(r.in[:n])
	r.in = r.in[n:]
	return s
}

func (r *wireReader) name() string {
	switch n := r.number(); {
	case r.bad || n > len(r.known):
		r.fail()
		return ""
	case n > 0:
		return r.known[n-1]
	}
	s := r.text()
	r.known = append(r.known, s)
	return s
}

func (r *wireReader) strings() []string {
	var all []string
	for range r.count() {
		all = append(all, r.name())
	}
	return all
}

func (r *wireReader) position() api.Position {
	return api.Position{File: r.name(), Line: r.number(), Column: r.number()}
}

func (r *wireReader) ref() api.Ref {
	s := r.strings()
	if len(s) != 3 {
		r.fail()
		return api.Ref{}
	}
	return api.Ref{Kind: s[0], Namespace: s[1], Name: s[2]}
}

func (r *wireReader) value(depth int) *value {
	if depth > maxWireDepth || len(r.in) == 0 {
		r.fail()
		return &value{kind: nullKind}
	}
	v := &value{kind: kind(r.in[0])}
	if !slices.Contains([]kind{nullKind, boolKind, intKind, floatKind, stringKind, listKind, structKind}, v.kind) {
		r.fail()
		return v
	}
	r.in = r.in[1:]
	v.pos, v.text, v.written = r.position(), r.text(), r.text()
	for range r.count() {
		v.items = append(v.items, r.value(depth+1))
	}
	for range r.count() {
		v.fields = append(v.fields, field{r.name(), r.position(), r.value(depth + 1)})
	}
	return v
}

func (r *wireReader) found() (objects []*declared, problems []api.Problem) {
	for range r.count() {
		objects = append(objects, &declared{ref: r.ref(), source: r.position()})
	}
	for range r.count() {
		problems = append(problems, api.Problem{
			Source: r.position(), Ref: r.ref(), Field: r.name(), Message: r.text(), Warning: r.number() == 1,
		})
	}
	return objects, problems
}
