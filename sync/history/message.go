// Package history reads the log of a repository as the record of what was deployed: which commit changed which files,
// which took back another, and which touched a file last.
package history

import (
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// The trailers of the commits that a rollback makes.
const (
	TrailerRollbackTo   = "Headway-Rollback-To"   // the commit whose files it brought back
	TrailerRollbackFrom = "Headway-Rollback-From" // the head that it took back
)

// A Trailer is a line of the form "Key: value" at the end of a commit message.
type Trailer struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// String is the line.
func (t Trailer) String() string { return t.Key + ": " + t.Value }

// A Message is a commit message in its parts.
type Message struct {
	Subject  string // the first paragraph, as one line
	Body     string // without subject and trailers
	Trailers []Trailer
}

var (
	trailerLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]*)[ \t]*:[ \t]*(.*)$`)
	revertLine  = regexp.MustCompile(`(?m)^This reverts commit ([0-9a-f]{40})\b`)
)

// ParseMessage takes a commit message apart. Trailers are the last paragraph, unless that is the subject, if each of its
// lines is one, or continues one by beginning with white space.
func ParseMessage(s string) Message {
	paragraphs := paragraphsOf(s)
	if len(paragraphs) == 0 {
		return Message{}
	}
	m := Message{Subject: strings.Join(strings.Fields(strings.ReplaceAll(paragraphs[0], "\n", " ")), " ")}
	rest := paragraphs[1:]
	if len(rest) > 0 {
		if trailers, ok := parseTrailers(rest[len(rest)-1]); ok {
			m.Trailers, rest = trailers, rest[:len(rest)-1]
		}
	}
	m.Body = strings.Join(rest, "\n\n")
	return m
}

// Values are those of a trailer, in their order. Keys are compared without regard to case.
func (m Message) Values(key string) []string {
	var values []string
	for _, t := range m.Trailers {
		if strings.EqualFold(t.Key, key) {
			values = append(values, t.Value)
		}
	}
	return values
}

// Reverts is the commit that git revert took back with this one; empty if it is no revert.
func (m Message) Reverts() string {
	if found := revertLine.FindStringSubmatch(m.Body); found != nil {
		return found[1]
	}
	return ""
}

// commit is the value of a trailer that names a commit.
func (m Message) commit(key string) string {
	for _, v := range m.Values(key) {
		if plumbing.IsHash(v) {
			return v
		}
	}
	return ""
}

func paragraphsOf(s string) []string {
	var paragraphs []string
	var lines []string
	end := func() {
		if len(lines) > 0 {
			paragraphs = append(paragraphs, strings.Join(lines, "\n"))
			lines = nil
		}
	}
	for line := range strings.Lines(strings.ReplaceAll(s, "\r", "")) {
		line = strings.TrimRight(line, " \t\n")
		if line == "" {
			end()
			continue
		}
		lines = append(lines, line)
	}
	end()
	return paragraphs
}

func parseTrailers(paragraph string) ([]Trailer, bool) {
	var trailers []Trailer
	for line := range strings.SplitSeq(paragraph, "\n") {
		if line[0] == ' ' || line[0] == '\t' {
			if len(trailers) == 0 {
				return nil, false
			}
			last := &trailers[len(trailers)-1]
			last.Value = strings.TrimSpace(last.Value + " " + strings.TrimSpace(line))
			continue
		}
		found := trailerLine.FindStringSubmatch(line)
		if found == nil {
			return nil, false
		}
		trailers = append(trailers, Trailer{Key: found[1], Value: found[2]})
	}
	return trailers, true
}
