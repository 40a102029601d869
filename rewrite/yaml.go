package rewrite

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// step is how far a level of YAML is indented, in spaces.
const step = 2

// YAML formats a YAML file: two spaces a level, lists under their key all in the way that the file mostly has, no space
// at the end of a line, no two blank lines together, line ends of one character. The words, their order, the comments and
// how lines are broken stay as they are. The error is a *FileError.
func YAML(file string, data []byte) ([]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	docs, err := parseYAML(file, data)
	if err != nil {
		return nil, err
	}
	// YAML ends lines at these too, and so counts other lines than everybody else does.
	if bytes.ContainsAny(data, "\r\u0085\u2028\u2029") {
		return nil, errUnsafe(file)
	}
	l := &layout{lines: strings.Split(string(data), "\n"), tokens: map[int][]mark{}, blocks: map[int]block{}}
	for _, d := range docs {
		l.measure(d)
	}
	for _, d := range docs {
		for _, n := range d.Content {
			l.place(n, 0, -1)
		}
	}
	if l.lost {
		return nil, errUnsafe(file)
	}
	out := []byte(l.write())
	again, err := parseYAML(file, out)
	if err != nil || !bytes.Equal(essence(data, ""), essence(out, "")) || !slices.EqualFunc(docs, again, sameNode) {
		return nil, errUnsafe(file)
	}
	return out, nil
}

// parseYAML reads every document of a file.
func parseYAML(file string, data []byte) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, yamlError(file, err)
		}
		docs = append(docs, &n)
	}
}

// sameNode tells whether two nodes mean the same; their style matters as far as it decides the type of a scalar.
func sameNode(a, b *yaml.Node) bool {
	if a.Kind == yaml.AliasNode && b.Kind == yaml.AliasNode {
		return a.Value == b.Value
	}
	return a.Kind == b.Kind && a.Tag == b.Tag && a.Value == b.Value && a.Anchor == b.Anchor && a.Style == b.Style &&
		slices.EqualFunc(a.Content, b.Content, sameNode)
}

// A layout knows where the tokens of a file stand and where they belong. Lines and columns count from zero.
type layout struct {
	lines  []string
	tokens map[int][]mark // those that a line starts with, from left to right
	blocks map[int]block  // literal and folded text, by the line of its mark
	deep   int            // lists indented below their key, less those that are not
	lost   bool           // a token is not where it should be
}

// A mark is a token's column, and the one that it belongs in.
type mark struct{ from, to int }

// A block is the text below a | or >, which ends where a line is not indented more than its parent.
type block struct {
	parent   int // the column that the text is right of
	target   int // the parent's new column
	explicit bool
}

func isBlock(n *yaml.Node) bool { return n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0 }

// measure counts how the lists of a document are indented.
func (l *layout) measure(n *yaml.Node) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && c.Kind == yaml.SequenceNode && isBlock(c) && c.Anchor == "" && isBlock(n) {
			if c.Column > n.Content[i-1].Column {
				l.deep++
			} else {
				l.deep--
			}
		}
		l.measure(c)
	}
}

// place gives a node's tokens the column to; parent is the present column of what holds it.
func (l *layout) place(n *yaml.Node, to, parent int) {
	switch {
	case n.Kind == yaml.MappingNode && isBlock(n):
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			from := key.Column - 1
			l.token(key.Line-1, from, to)
			below := to + step
			if value.Kind == yaml.SequenceNode && l.deep <= 0 {
				below = to
			}
			l.value(value, below, from, to)
		}
	case n.Kind == yaml.SequenceNode && isBlock(n):
		for _, item := range n.Content {
			line, from, ok := l.dash(item)
			if !ok {
				l.lost = true
				return
			}
			l.token(line, from, to)
			l.value(item, to+step, from, to)
		}
	default:
		l.value(n, to, parent, to-step)
	}
}

// value places what a key or a dash holds.
func (l *layout) value(n *yaml.Node, to, parent, parentTo int) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		header := l.lines[n.Line-1]
		header = header[min(len(header), byteColumn(header, n.Column-1)):]
		header, _, _ = strings.Cut(header, " #")
		l.blocks[n.Line-1] = block{parent: parent, target: parentTo, explicit: strings.ContainsAny(header, "123456789")}
	case (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && isBlock(n):
		l.place(n, to, parent)
	}
}

func (l *layout) token(line, from, to int) {
	l.tokens[line] = append(l.tokens[line], mark{from, to})
}

// dash finds the dash before a list's item: on the item's line, or alone on one above.
func (l *layout) dash(item *yaml.Node) (line, column int, ok bool) {
	first := item
	if item.Kind == yaml.MappingNode && isBlock(item) && item.Anchor == "" {
		first = item.Content[0]
	}
	line = first.Line - 1
	text := l.lines[line]
	text = text[:min(len(text), byteColumn(text, first.Column-1))]
	for {
		before := strings.TrimRight(text, " \t")
		if strings.HasSuffix(before, "-") {
			return line, len([]rune(before)) - 1, true
		}
		if strings.TrimSpace(before) != "" && !strings.HasPrefix(strings.TrimSpace(before), "#") || line == 0 {
			return 0, 0, false
		}
		line--
		text, _, _ = strings.Cut(l.lines[line], " #")
	}
}

// byteColumn turns a column in characters into one in bytes.
func byteColumn(s string, column int) int {
	for i := range s {
		if column == 0 {
			return i
		}
		column--
	}
	return len(s)
}
