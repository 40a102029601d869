package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"

	"headway.dev/headway/api"
)

const (
	// maxDepth bounds the nesting of a document.
	maxDepth = 100
	// maxAliased bounds how many values aliases may add to a document.
	maxAliased = 50_000
)

// A chunk is the text of one YAML document, with the number of lines before it.
type chunk struct {
	text []byte
	line int
}

// splitYAML cuts a file at its document markers, so that a syntax error harms one document only. Chunks that hold
// nothing but comments are left out.
func splitYAML(data []byte) []chunk {
	var chunks []chunk
	current := chunk{text: data[:0:0]}
	start, line, content, directive := 0, 0, false, false
	flush := func(end int) {
		if content {
			current.text = data[start:end]
			chunks = append(chunks, current)
		}
	}
	for pos := 0; pos < len(data); line++ {
		end := len(data)
		if n := bytes.IndexByte(data[pos:], '\n'); n >= 0 {
			end = pos + n + 1
		}
		text := data[pos:end]
		rest, marker := bytes.CutPrefix(text, []byte("---"))
		switch {
		case marker && (len(text) == 3 || strings.ContainsRune(" \t\r\n", rune(text[3]))):
			if !directive || content {
				flush(pos)
				start, current = pos, chunk{line: line}
			}
			content, directive = !noContent(rest), false
		case text[0] == '%' && !content:
			directive = true
		default:
			content = content || !noContent(text)
		}
		pos = end
	}
	flush(len(data))
	return chunks
}

// noContent tells whether a line holds nothing but a comment or the end of a document. YAML knows other line breaks than
// the usual ones, after which a comment ends.
func noContent(line []byte) bool {
	line = bytes.Trim(line, " \t\r\n")
	return len(line) == 0 || string(line) == "..." || line[0] == '#' && !bytes.ContainsAny(line, "\r\u0085\u2028\u2029")
}

// readYAML parses every document of a file.
func readYAML(file string, data []byte) (docs []*value, problems []api.Problem) {
	for _, c := range splitYAML(data) {
		if crowded(c.text) {
			pos := api.Position{File: file, Line: c.line + 1}
			problems = append(problems, api.Problem{Source: pos, Message: fmt.Sprintf("the document may hold more than %d values: split it", maxValues)})
			continue
		}
		dec := yaml.NewDecoder(bytes.NewReader(c.text))
		for {
			var root yaml.Node
			err := dec.Decode(&root)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				problems = append(problems, yamlProblem(file, c, err))
				break
			}
			r := yamlReader{chunk: c, file: file, secret: mentionsSecret(c.text)}
			doc, err := r.read(&root, 0)
			if err != nil {
				var p *positionedError
				if !errors.As(err, &p) {
					p = &positionedError{api.Position{File: file, Line: c.line + 1}, err.Error()}
				}
				problems = append(problems, api.Problem{Source: p.pos, Message: p.message})
				continue
			}
			docs = append(docs, doc)
		}
	}
	return docs, problems
}

// A positionedError is a fault in a document that leaves nothing of it to check.
type positionedError struct {
	pos     api.Position
	message string
}

func (e *positionedError) Error() string { return e.pos.String() + ": " + e.message }

// A yamlReader turns yaml.v3's nodes into values.
type yamlReader struct {
	chunk
	file    string
	secret  bool // the document may hold one: nothing of it may be shown
	aliased int  // values that came from aliases
	inAlias int
}

func (r *yamlReader) pos(n *yaml.Node) api.Position {
	return api.Position{File: r.file, Line: r.line + n.Line, Column: n.Column}
}

func (r *yamlReader) errorf(n *yaml.Node, format string, args ...any) error {
	return &positionedError{r.pos(n), fmt.Sprintf(format, args...)}
}

func (r *yamlReader) read(n *yaml.Node, depth int) (*value, error) {
	if depth > maxDepth {
		return nil, r.errorf(n, "nested more than %d deep", maxDepth)
	}
	if r.inAlias > 0 {
		if r.aliased++; r.aliased > maxAliased {
			return nil, r.errorf(n, "aliases add more than %d values: write them out", maxAliased)
		}
	}
	if tag := n.ShortTag(); n.Style&yaml.TaggedStyle != 0 && n.Kind&(yaml.MappingNode|yaml.SequenceNode) != 0 && tag != "!!map" && tag != "!!seq" {
		return nil, r.errorf(n, "the tag %s means nothing here: remove it", r.shown(tag))
	}
	v := &value{pos: r.pos(n)}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.read(n.Content[0], depth)
	case yaml.AliasNode:
		r.inAlias++
		defer func() { r.inAlias-- }()
		return r.read(n.Alias, depth+1)
	case yaml.SequenceNode:
		v.kind = listKind
		for _, item := range n.Content {
			iv, err := r.read(item, depth+1)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, iv)
		}
		return v, nil
	case yaml.MappingNode:
		return v, r.mapping(v, n, depth)
	case yaml.ScalarNode:
		return v, r.scalar(v, n)
	}
	return nil, r.errorf(n, "an empty document")
}

func (r *yamlReader) mapping(v *value, n *yaml.Node, depth int) error {
	v.kind = structKind
	v.fields = make([]field, 0, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Tag == "!!merge" {
			merges = append(merges, n.Content[i+1])
			continue
		}
		name, err := r.key(k)
		if err != nil {
			return err
		}
		mv, err := r.read(n.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		v.fields = append(v.fields, field{name, r.pos(k), mv})
	}
	for _, m := range merges {
		if err := r.merge(v, m, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// key reads a key; one that is no string is written as one, as the JSON form has it.
func (r *yamlReader) key(k *yaml.Node) (string, error) {
	if k.Kind == yaml.AliasNode {
		k = k.Alias
	}
	if k.Kind != yaml.ScalarNode {
		if p := placeholder.Find(bytes.Split(r.text, []byte("\n"))[k.Line-1]); p != nil {
			return "", r.errorf(k, "holds the placeholder %s: %s", r.shown(string(p)), noTemplates)
		}
		return "", r.errorf(k, "a key must be a string, not %s", strings.ToLower(strings.TrimPrefix(k.Tag, "!!")))
	}
	var v value
	if err := r.scalar(&v, k); err != nil {
		return "", err
	}
	if v.kind == nullKind {
		return "", r.errorf(k, "an empty key")
	}
	return v.text, nil
}

// merge takes in what << names; fields that are there already win.
func (r *yamlReader) merge(v *value, n *yaml.Node, depth int) error {
	mv, err := r.read(n, depth)
	if err != nil {
		return err
	}
	sources := []*value{mv}
	if mv.kind == listKind {
		sources = mv.items
	}
	have := make(map[string]bool, len(v.fields))
	for _, f := range v.fields {
		have[f.name] = true
	}
	for _, s := range sources {
		if s.kind != structKind {
			return r.errorf(n, "<< needs a map, or a list of maps")
		}
		for _, f := range s.fields {
			if !have[f.name] {
				v.fields = append(v.fields, f)
				have[f.name] = true
			}
		}
	}
	return nil
}
