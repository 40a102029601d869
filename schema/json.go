package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"headway.dev/headway/api"
)

// A jsonReader reads JSON with positions. YAML's reader would take most of JSON, but not all of its escapes.
type jsonReader struct {
	file string
	data []byte
	dec  *json.Decoder
	// at, line and lineStart follow the decoder: the offset looked at so far, its line, and where that line begins.
	at, line, lineStart int
	values              int  // read so far
	secret              bool // the file may hold one: nothing of it may be shown
}

// readJSON parses every value of a file.
func readJSON(file string, data []byte) (docs []*value, problems []api.Problem) {
	r := &jsonReader{file: file, data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1, secret: mentionsSecret(data)}
	r.dec.UseNumber()
	for {
		if len(bytes.Trim(data[r.dec.InputOffset():], " \t\r\n")) == 0 {
			return docs, problems
		}
		doc, err := r.read(0)
		if err != nil {
			return docs, append(problems, r.problem(err))
		}
		docs = append(docs, doc)
	}
}

func (r *jsonReader) problem(err error) api.Problem {
	var positioned *positionedError
	if errors.As(err, &positioned) {
		return api.Problem{Source: positioned.pos, Message: positioned.message}
	}
	offset := int(r.dec.InputOffset())
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		// The decoder counts the character at fault in; what it counts from is the value that it was reading.
		offset = max(offset, int(syntax.Offset)-1)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file ends within a value")
		offset = len(r.data)
	}
	return api.Problem{Source: r.position(min(offset, len(r.data))), Message: "not JSON: " + err.Error()}
}

// position moves the line count on to an offset, which never goes back.
func (r *jsonReader) position(offset int) api.Position {
	for ; r.at < offset; r.at++ {
		if r.data[r.at] == '\n' {
			r.line++
			r.lineStart = r.at + 1
		}
	}
	return api.Position{File: r.file, Line: r.line, Column: 1 + offset - r.lineStart}
}

// token reads the next token and where it starts.
func (r *jsonReader) token() (json.Token, api.Position, error) {
	start := int(r.dec.InputOffset())
	for start < len(r.data) && strings.IndexByte(" \t\r\n,:", r.data[start]) >= 0 {
		start++
	}
	t, err := r.dec.Token()
	return t, r.position(start), err
}

func (r *jsonReader) read(depth int) (*value, error) {
	t, pos, err := r.token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, &positionedError{pos, fmt.Sprintf("nested more than %d deep", maxDepth)}
	}
	if r.values++; r.values > maxValues {
		return nil, &positionedError{pos, fmt.Sprintf("the file holds more than %d values: split it", maxValues)}
	}
	v := &value{pos: pos}
	switch t := t.(type) {
	case nil:
		v.kind = nullKind
	case bool:
		v.kind, v.text = boolKind, strconv.FormatBool(t)
	case string:
		v.kind, v.text = stringKind, t
	case json.Number:
		v.kind, v.text = intKind, t.String()
		if _, err := t.Float64(); err != nil {
			return nil, &positionedError{pos, fmt.Sprintf("%s is too large a number", r.shown(shorten(v.text)))}
		}
		if strings.ContainsAny(v.text, ".eE") {
			v.kind = floatKind
		}
	case json.Delim:
		if t == '[' {
			return v, r.list(v, depth)
		}
		return v, r.object(v, depth)
	}
	return v, nil
}

func (r *jsonReader) list(v *value, depth int) error {
	v.kind = listKind
	for r.dec.More() {
		item, err := r.read(depth + 1)
		if err != nil {
			return err
		}
		v.items = append(v.items, item)
	}
	_, _, err := r.token()
	return err
}

func (r *jsonReader) object(v *value, depth int) error {
	v.kind = structKind
	for r.dec.More() {
		t, pos, err := r.token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return &positionedError{pos, "not JSON: a key must be a string"}
		}
		m, err := r.read(depth + 1)
		if err != nil {
			return err
		}
		v.fields = append(v.fields, field{name, pos, m})
	}
	_, _, err := r.token()
	return err
}
