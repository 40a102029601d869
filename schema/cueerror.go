package schema

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"headway.dev/headway/api"
)

// problems translates CUE's errors: one for each place, however many alternatives failed there.
func (m *cueModule) problems(dir string, ref api.Ref, at []string, err error) []api.Problem {
	var out []api.Problem
	told := map[string]int{} // the problem of each path
	for _, ce := range errors.Errors(err) {
		steps := errors.Path(ce)
		if len(steps) >= len(at) && slices.Equal(steps[:len(at)], at) {
			steps = steps[len(at):]
		}
		p := api.Problem{Source: m.errorPosition(dir, ce), Ref: ref, Field: cueField(steps), Message: m.message(ce)}
		if strings.Contains(p.Message, "empty disjunction") {
			continue // what follows says why each alternative failed
		}
		if first, ok := told[p.Field]; ok && p.Field != "" {
			if !strings.Contains(out[first].Message, p.Message) {
				out[first].Message += "; or: " + p.Message
			}
			continue
		}
		told[p.Field] = len(out)
		out = append(out, p)
	}
	if len(out) == 0 {
		out = append(out, api.Problem{Source: api.Position{File: dir}, Ref: ref, Message: err.Error()})
	}
	return out
}

func (m *cueModule) errorPosition(dir string, err errors.Error) api.Position {
	for _, p := range append([]token.Pos{err.Position()}, err.InputPositions()...) {
		if pos := m.treePosition(p); pos.Line > 0 {
			return pos
		}
	}
	return api.Position{File: dir}
}

var (
	packagePrefix = regexp.MustCompile(`^\["[^"]*"\]: `)
	importPrefix  = regexp.MustCompile(`^import failed: (\S+:\d+:\d+: )?`)
)

// message is an error's text, with its causes but without its path.
func (m *cueModule) message(err errors.Error) string {
	text := strings.TrimPrefix(err.Error(), strings.Join(errors.Path(err), ".")+": ")
	text = importPrefix.ReplaceAllString(packagePrefix.ReplaceAllString(text, ""), "")
	text = strings.ReplaceAll(text, m.mount+string(filepath.Separator), "")
	if strings.Contains(text, "cannot find module providing package") {
		text += ": headway fetches no modules; vendor it under cue.mod/pkg"
	}
	return strings.Join(strings.Fields(text), " ")
}

// cueField writes a CUE path as other fields are written.
func cueField(path []string) string {
	steps := make([]any, len(path))
	for i, s := range path {
		steps[i] = s
		if n := strings.Trim(s, "0123456789"); n == "" && s != "" {
			var index int
			if _, err := fmt.Sscan(s, &index); err == nil {
				steps[i] = index
			}
		}
	}
	return fieldPath(steps)
}
