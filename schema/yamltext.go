package schema

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"headway.dev/headway/api"
)

// notText says why data is no text that a manifest can be; nil if it is.
func notText(file string, data []byte) *fileResult {
	for _, mark := range [][]byte{{0xff, 0xfe}, {0xfe, 0xff}} {
		if bytes.HasPrefix(data, mark) {
			return fileProblem(file, "is text in UTF-16: save it as UTF-8")
		}
	}
	pos := func(offset int) api.Position {
		line := 1 + bytes.Count(data[:offset], []byte("\n"))
		return api.Position{File: file, Line: line, Column: offset - bytes.LastIndexByte(data[:offset], '\n')}
	}
	if !utf8.Valid(data) {
		offset := 0
		for r, n := utf8.DecodeRune(data); r != utf8.RuneError || n > 1; r, n = utf8.DecodeRune(data[offset:]) {
			offset += n
		}
		r := fileProblem(file, "is not text in UTF-8, for it holds the byte 0x%02x: save it as UTF-8", data[offset])
		r.problems[0].Source = pos(offset)
		return r
	}
	if offset := bytes.IndexByte(data, 0); offset >= 0 {
		what := "is not text, for it holds a zero byte"
		if bytes.Count(data, []byte{0}) >= len(data)/3 {
			what = "is text in UTF-16: save it as UTF-8"
		}
		r := fileProblem(file, "%s", what)
		r.problems[0].Source = pos(offset)
		return r
	}
	return nil
}

const (
	// maxValues bounds how many values a document may hold: what a parser needs of memory is a few hundred bytes each.
	maxValues = 500_000
	// maxProblems bounds how many problems of one file are told.
	maxProblems = 1000
)

// crowded tells whether a YAML document could hold more than maxValues values. It counts what separates them, so that
// the parser need not find out.
func crowded(text []byte) bool {
	if len(text) < maxValues {
		return false
	}
	separators := 0
	for _, b := range text {
		switch b {
		case ',', ':', '-', '?', '[', '{', '\n':
			separators++
		}
	}
	return separators > maxValues
}

// bounded leaves out problems beyond maxProblems, the warnings first.
func bounded(file string, problems []api.Problem) []api.Problem {
	if len(problems) <= maxProblems {
		return problems
	}
	all := slices.SortedStableFunc(slices.Values(problems), func(a, b api.Problem) int {
		switch {
		case a.Warning == b.Warning:
			return 0
		case a.Warning:
			return 1
		}
		return -1
	})
	more := fileProblem(file, "has %d problems more, which are not shown", len(all)-maxProblems).problems[0]
	more.Warning = all[maxProblems].Warning
	return append(all[:maxProblems:maxProblems], more)
}

// tabbed explains a line that a tab indents, which YAML does not take.
func tabbed(line []byte, show func(string) string) (column int, message string) {
	indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
		return tab + 1, fmt.Sprintf("not YAML: a tab indents %s: write spaces", show(shorten(string(bytes.TrimSpace(line)))))
	}
	return 0, ""
}
