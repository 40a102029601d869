package schema

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"

	"headway.dev/headway/api"
)

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlProblem positions a syntax error. A line with a template's placeholder is its likely cause.
func yamlProblem(file string, c chunk, err error) api.Problem {
	message := err.Error()
	line := 1
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		message = message[len(m[0]):]
	}
	show := shownWhole
	if mentionsSecret(c.text) {
		message, show = withoutQuotes(message), hidden
	}
	lines := bytes.SplitAfter(c.text, []byte("\n"))
	if found := faultyLine(lines); found > 0 {
		line = found
	}
	for _, n := range []int{line, line + 1, line - 1} {
		if n < 1 || n > len(lines) {
			continue
		}
		if p := placeholder.Find(lines[n-1]); p != nil {
			return api.Problem{
				Source:  api.Position{File: file, Line: c.line + n, Column: 1 + bytes.Index(lines[n-1], p)},
				Message: fmt.Sprintf("the placeholder %s makes this no YAML: %s", show(string(p)), noTemplates),
			}
		}
	}
	pos := api.Position{File: file, Line: c.line + line}
	if line <= len(lines) {
		if column, message := tabbed(lines[line-1], show); column > 0 {
			pos.Column = column
			return api.Problem{Source: pos, Message: message}
		}
		pos.Column = 1 + len(lines[line-1]) - len(bytes.TrimLeft(lines[line-1], " \t"))
	}
	return api.Problem{Source: pos, Message: "not YAML: " + message}
}

const (
	// maxSearched bounds the size of a document whose faulty line is searched for, in bytes.
	maxSearched = 256 << 10
	// maxParsed bounds how much of it is parsed for that, in bytes: each step parses the beginning anew.
	maxParsed = 8 << 20
	// maxOpen is how many lines a value may run on before a text that ends in it counts as faulty.
	maxOpen = 40
)

// faultyLine finds the line at which a text stops being YAML; 0 is not found. The parser itself names where the
// enclosing map began, which can be far away. Text up to a line before the fault parses, unless it ends within a value
// of several lines; text beyond never does.
func faultyLine(lines [][]byte) int {
	offsets := make([]int, len(lines)+1)
	for i, l := range lines {
		offsets[i+1] = offsets[i] + len(l)
	}
	text := bytes.Join(lines, nil)
	if len(text) > maxSearched {
		return 0
	}
	parsed := 0
	parses := func(n int) bool {
		parsed += offsets[n]
		var root yaml.Node
		return yaml.Unmarshal(text[:offsets[n]], &root) == nil
	}
	good := 0
	for {
		bad := len(lines) + 1
		for good+1 < bad {
			if middle := (good + bad) / 2; middle <= len(lines) && parses(middle) {
				good = middle
			} else {
				bad = middle
			}
		}
		further := 0
		for n := bad + 1; n <= min(bad+maxOpen, len(lines)) && parsed <= maxParsed; n++ {
			if parses(n) {
				further = n
				break
			}
		}
		if parsed > maxParsed {
			return 0
		}
		if further == 0 {
			return min(bad, len(lines))
		}
		good = further
	}
}
