package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"headway.dev/headway/api"
)

// A complaint is what is wrong at one path of a CUE value.
type complaint struct {
	path     []string
	position api.Position // zero if the tree does not say where
	message  string
	absent   bool // something that should be there is not
	secret   bool // no value may be shown
	conflict *conflict
}

// A conflict is a value and what it was met with. CUE gives one for each alternative of a disjunction.
type conflict struct {
	operands  [2]string
	positions [2]token.Pos
	bound     bool // the second operand is what the first must be
}

// complaints sorts CUE's errors out: a disjunction is an error for each alternative, which together say what would be
// allowed; and an alternative for another kind of object says nothing at all.
// If it is secret, no value is shown.
func (m *cueModule) complaints(err error, secret bool) []*complaint {
	var found []*complaint
	disjunctions := map[string]bool{}
	for _, ce := range errors.Errors(err) {
		path := errors.Path(ce)
		format, args := ce.Msg()
		if strings.Contains(format, "errors in empty disjunction") {
			disjunctions[strings.Join(path, "\x00")] = true
			continue
		}
		c := &complaint{path: path, message: m.message(ce), secret: secret && !saysKind(path), conflict: conflictOf(format, args, ce.InputPositions())}
		c.position = m.authored(append([]token.Pos{ce.Position()}, ce.InputPositions()...)...)
		switch {
		case strings.HasPrefix(format, "field is required but not present"):
			c.message, c.absent = "is required", true
		case strings.HasPrefix(format, "incomplete value"):
			c.message = "has no value: nothing says more of it than " + c.show(strings.TrimPrefix(c.message, "incomplete value "))
		case strings.HasPrefix(format, "field not allowed"):
			c.message = "is not a field that its definition allows"
		case c.secret:
			c.message = withoutValues(c.message)
		}
		found = append(found, c)
	}
	return m.perPath(otherArms(found, disjunctions))
}

// saysKind tells the path of what no secret stands at.
func saysKind(path []string) bool {
	return len(path) > 0 && (path[len(path)-1] == "kind" || path[len(path)-1] == "apiVersion")
}

// conflictOf reads the two values that do not go together from an error.
func conflictOf(format string, args []any, positions []token.Pos) *conflict {
	c := &conflict{}
	switch {
	case strings.HasPrefix(format, "conflicting values %s and %s") && len(args) >= 2:
	case strings.HasPrefix(format, "invalid value %v (out of bound") && len(args) == 2:
		c.bound = true
	default:
		return nil
	}
	for i := range c.operands {
		c.operands[i] = fmt.Sprint(args[i])
		if i < len(positions) {
			c.positions[i] = positions[i]
		}
	}
	return c
}

// otherArms leaves out what failed in alternatives that were not meant: those of another kind of object where one of the
// right kind failed too, and null.
func otherArms(all []*complaint, disjunctions map[string]bool) []*complaint {
	inside := func(c *complaint, arm string) bool {
		return strings.HasPrefix(strings.Join(c.path, "\x00")+"\x00", arm+"\x00")
	}
	notMeant := func(c *complaint, arm string) bool {
		rest := len(c.path) - 1 - strings.Count(arm, "\x00")
		last := c.path[len(c.path)-1]
		return rest == 1 && (last == "kind" || last == "apiVersion") || rest == 0 && c.conflict != nil && slices.Contains(c.conflict.operands[:], "null")
	}
	for _, arm := range slices.Sorted(maps.Keys(disjunctions)) {
		if arm == "" {
			continue
		}
		meant := slices.ContainsFunc(all, func(c *complaint) bool { return inside(c, arm) && !notMeant(c, arm) })
		if meant {
			all = slices.DeleteFunc(all, func(c *complaint) bool { return inside(c, arm) && notMeant(c, arm) })
		}
	}
	return all
}

// perPath makes one complaint of all that are of the same path.
func (m *cueModule) perPath(all []*complaint) []*complaint {
	var out []*complaint
	byPath := map[string]*complaint{}
	conflicts := map[*complaint][]*conflict{}
	for _, c := range all {
		key := strings.Join(c.path, "\x00")
		first := byPath[key]
		switch {
		case first == nil || key == "" || (first.conflict == nil) != (c.conflict == nil) && !strings.Contains(first.message, c.message):
			out = append(out, c)
			byPath[key] = c
			first = c
		case c.conflict == nil && !strings.Contains(first.message, c.message):
			first.message += "; or: " + c.message
		}
		if c.conflict != nil {
			conflicts[first] = append(conflicts[first], c.conflict)
		}
	}
	for c, of := range conflicts {
		m.explain(c, of)
	}
	return out
}

// explain says which value is wrong, and what it may be.
func (m *cueModule) explain(c *complaint, conflicts []*conflict) {
	got := m.wrongOperand(conflicts)
	if got < 0 {
		return
	}
	value := conflicts[0].operands[got]
	var literals, rules []string
	for _, f := range conflicts {
		i := slices.Index(f.operands[:], value)
		if i < 0 {
			return // they are about different values
		}
		want := f.operands[1-i]
		if isRule(want) {
			rules = append(rules, ruleText(want))
		} else {
			literals = append(literals, want)
		}
		if pos := m.authored(f.positions[i]); pos.Line > 0 {
			c.position = pos
		}
	}
	if c.secret && len(literals) == 1 {
		literals[0] = notShown // of two values, either may be the secret; what a disjunction lists is none
	}
	c.message = c.show(value) + " is not " + alternatives(compact(literals), compact(rules))
	if near := nearest(value, literals); near != "" && len(value) > shortestGuess && len(literals) > 1 && len(rules) == 0 && !c.secret {
		c.message += "; did you mean " + near + "?"
	}
}

// shortestGuess is the length of text, with its quotes, that is too short to guess what else it could have been.
const shortestGuess = 4

// show gives what may be shown of a value.
func (c *complaint) show(operand string) string {
	if c.secret && typeText(operand) == "" {
		return "the value " + notShown
	}
	return limited(operand)
}

// wrongOperand tells which operand of the first conflict the author must change: the one that all conflicts share, the
// one that breaks a rule, or the one that was written in the tree. It is -1 if there is no telling.
func (m *cueModule) wrongOperand(conflicts []*conflict) int {
	first := conflicts[0]
	if first.bound {
		return 0
	}
	for i, operand := range first.operands {
		shared := func(f *conflict) bool { return slices.Contains(f.operands[:], operand) }
		if len(conflicts) > 1 && !slices.ContainsFunc(conflicts, func(f *conflict) bool { return !shared(f) }) && !isRule(operand) {
			return i
		}
	}
	for i, operand := range first.operands {
		if isRule(first.operands[1-i]) && !isRule(operand) {
			return i
		}
	}
	for i := range first.operands {
		own, other := m.treePosition(first.positions[i]), m.treePosition(first.positions[1-i])
		if own.Line > 0 && other.Line == 0 && first.positions[1-i].IsValid() {
			return i
		}
	}
	return -1
}

// typeText names a type of CUE; empty if it is none.
func typeText(name string) string {
	switch name {
	case "string":
		return "a string"
	case "bytes", "null":
		return name
	case "bool":
		return "a bool"
	case "number", "float":
		return "a number"
	case "struct":
		return "a map"
	case "list":
		return "a list"
	case "int", "int32", "int64":
		return "a whole number"
	case "uint", "uint32", "uint64":
		return "a whole number of 0 or more"
	case "uint16":
		return "a whole number from 0 to 65535"
	}
	return ""
}

// isRule tells a type, a bound or a pattern from a value.
func isRule(operand string) bool {
	return typeText(operand) != "" || operand == "" || strings.ContainsAny(operand[:1], "<>=!&|{[")
}

func ruleText(operand string) string {
	switch text := typeText(operand); {
	case text != "":
		return text
	case strings.HasPrefix(operand, "=~"):
		return "text that matches " + limited(operand[2:])
	case strings.HasPrefix(operand, "!~"):
		return "text that does not match " + limited(operand[2:])
	case strings.HasPrefix(operand, "{"):
		return "a map"
	case strings.HasPrefix(operand, "["):
		return "a list"
	}
	return limited(operand)
}

// alternatives lists what a value may be. A value that is only the default of a rule is not told beside it.
func alternatives(literals, rules []string) string {
	switch {
	case len(rules) > 0:
		return strings.Join(rules, " or ")
	case len(literals) == 1:
		return limited(literals[0])
	}
	return "one of " + strings.Join(literals, ", ")
}

// compact sorts, and drops what is there twice.
func compact(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// shownOperand is how much of a value is told, in bytes.
const shownOperand = 100

func limited(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > shownOperand {
		s = strings.ToValidUTF8(s[:shownOperand], "") + "…"
	}
	return s
}
