package schema

import (
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"headway.dev/headway/api"
)

// treePosition is a position in the tree; zero for one in a file that comes with the program.
func (m *cueModule) treePosition(p token.Pos) api.Position {
	if !p.IsValid() {
		return api.Position{}
	}
	file := m.inTree(p.Filename())
	if m.carried[path.Dir(file)] {
		return api.Position{}
	}
	return api.Position{File: file, Line: p.Line(), Column: p.Column()}
}

// authored is the first of some positions that someone wrote who works on the tree: not in a file that comes with the
// program, and rather not in one that was vendored. It is zero if there is none.
func (m *cueModule) authored(positions ...token.Pos) api.Position {
	var vendored api.Position
	for _, p := range positions {
		pos := m.treePosition(p)
		switch _, inMod := below(pos.File, m.inMod()); {
		case pos.Line == 0:
		case !inMod:
			return pos
		case vendored.Line == 0:
			vendored = pos
		}
	}
	return vendored
}

// problems translates CUE's errors, one for each place, however many alternatives failed there. The paths in them begin
// with at, which is left out. Where an error has no position in the tree, at gives one.
func (m *cueModule) problems(ref api.Ref, at []string, fallback func(rest []string) api.Position, err error) []api.Problem {
	secret := ref.Kind == "Secret" || ref.Kind == "" && m.secret
	var out []api.Problem
	for _, c := range m.complaints(err, secret) {
		steps := c.path
		if len(steps) >= len(at) && slices.Equal(steps[:len(at)], at) {
			steps = steps[len(at):]
		}
		pos := c.position
		if pos.Line == 0 || c.absent {
			if p := fallback(steps); p.Line > 0 || pos.Line == 0 {
				pos = p
			}
		}
		out = append(out, api.Problem{Source: pos, Ref: ref, Field: cueField(steps), Message: c.message})
	}
	if len(out) == 0 {
		out = append(out, api.Problem{Source: fallback(nil), Ref: ref, Message: m.unspecific(err, secret)})
	}
	return out
}

// unspecific is the text of an error that says no more.
func (m *cueModule) unspecific(err error, secret bool) string {
	if secret {
		return withoutValues(err.Error())
	}
	return err.Error()
}

// inFile is the position of what is known to be in a file or directory only.
func inFile(name string) func([]string) api.Position {
	return func([]string) api.Position { return api.Position{File: name} }
}

var (
	packagePrefix = regexp.MustCompile(`^\["[^"]*"\]: `)
	importPrefix  = regexp.MustCompile(`^import failed: (\S+:\d+:\d+: )?`)
	missingImport = regexp.MustCompile(`^cannot find package "([^"]+)": (?:cannot find module|cannot fetch|cannot expand)`)
)

// message is an error's text, with its causes but without its path.
func (m *cueModule) message(err errors.Error) string {
	text := strings.TrimPrefix(err.Error(), strings.Join(errors.Path(err), ".")+": ")
	text = importPrefix.ReplaceAllString(packagePrefix.ReplaceAllString(text, ""), "")
	text = strings.ReplaceAll(text, m.mount+string(filepath.Separator), "")
	if found := missingImport.FindStringSubmatch(text); found != nil {
		return "import " + strconv.Quote(found[1]) + ": it is not in the repository, and headway fetches no modules: vendor it as " +
			m.inMod("pkg", found[1])
	}
	return strings.Join(strings.Fields(text), " ")
}

// cueField writes a CUE path as other fields are written. Indices of lists are numbers in it; names of numbers are quoted.
func cueField(path []string) string {
	steps := make([]any, len(path))
	for i, s := range path {
		if index, err := strconv.Atoi(s); err == nil {
			steps[i] = index
			continue
		}
		if name, err := strconv.Unquote(s); err == nil {
			s = name
		}
		steps[i] = s
	}
	return fieldPath(steps)
}
