package schema

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A constraint is what a CUE expression allows: any of its arms. No arm at all is what nothing satisfies.
type constraint struct {
	name   string // the definition it is, such as #Port; empty for a nameless expression
	doc    string // what the definition's comment says it is
	arms   []*arm
	deflt  *string // JSON of the default; nil is none
	class  class   // of a kind's definition: what becomes of its objects
	reason string  // why a kind is accepted or refused
}

// An arm is one alternative: a value of one of the kinds that meets every limit.
type arm struct {
	kinds    kind
	literal  *string // the text of the only value, nil is any
	doc      string  // what the comment of the arm's own definition says it is
	patterns []pattern
	min, max *int64 // bounds of a number
	maxRunes int    // of a string; 0 is any
	minItems int    // of a list
	maxItems int    // 0 is any
	elem     *constraint
	fields   *structRule // nil is any struct
}

type pattern struct {
	re   *regexp.Regexp
	want bool // false for !~
}

// A structRule is a closed struct.
type structRule struct {
	name   string // the definition, such as #PodSpec
	doc    string
	fields []*fieldRule
	byName map[string]*fieldRule
	keys   []keyRule
	oneOf  []oneOf
}

// saysNothing tells a value that is as good as none, so that it may stand at a refused field. The number 0 of a user or a
// group is one like any other; and the presence of some structs is what they say.
func (f *fieldRule) saysNothing(v *value) bool {
	return v.empty() && (v.kind != structKind || !f.member) && (v.kind != intKind || f.typ.name != "#ID")
}

// holdsSecrets reports a map of any keys to values that may not be shown.
func (r *structRule) holdsSecrets() bool {
	return len(r.fields) == 0 && len(r.keys) > 0 && r.keys[0].secret
}

// step is what a path calls a member. What stands where the key of a secret should be may be the secret itself.
func (r *structRule) step(name string) string {
	if !r.holdsSecrets() || slices.ContainsFunc(r.keys[0].key.arms, func(a *arm) bool { return a.fits(&value{kind: stringKind, text: name}) }) {
		return name
	}
	return notShown
}

// class says what becomes of a field.
type class int

const (
	implemented class = iota
	accepted
	refused
)

func (c class) String() string {
	return [...]string{"implemented", "accepted", "refused"}[c]
}

// A fieldRule is what the schema says of a field.
type fieldRule struct {
	name     string
	doc      string
	required bool
	optional bool
	class    class
	reason   string       // why it is accepted or refused
	values   []valueBlock // values that the type has, but that are refused
	secret   bool         // no error may show the value
	anycase  bool         // one of the values in other case is taken for it
	unique   string       // the key that no two items of the list may share
	member   bool         // one of several of which one must be chosen: present even when empty
	typ      *constraint
}

// A valueBlock is a refused value of a field.
type valueBlock struct{ value, reason string }

// A keyRule holds for the members of a struct that it does not name.
type keyRule struct {
	key *constraint
	fieldRule
}

// A oneOf bounds how many of a struct's members are there.
type oneOf struct {
	atLeast int // 0 or 1; at most one always
	names   []string
}

// fits tells whether a value meets an arm's own limits; lists and structs are looked into by the checker.
func (a *arm) fits(v *value) bool {
	if a.kinds&v.kind == 0 {
		return false
	}
	if a.literal != nil && *a.literal != v.text {
		return false
	}
	switch v.kind {
	case stringKind:
		if a.maxRunes > 0 && utf8.RuneCountInString(v.text) > a.maxRunes {
			return false
		}
		for _, p := range a.patterns {
			if p.re.MatchString(v.text) != p.want {
				return false
			}
		}
	case intKind, floatKind:
		return a.inBounds(v.text)
	case listKind:
		return len(v.items) >= a.minItems && (a.maxItems == 0 || len(v.items) <= a.maxItems)
	}
	return true
}

func (a *arm) inBounds(text string) bool {
	if a.min == nil && a.max == nil {
		return true
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return (a.min == nil || n >= *a.min) && (a.max == nil || n <= *a.max)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false
	}
	// Beyond an int64, a float is near enough.
	return (a.min == nil || f >= float64(*a.min)) && (a.max == nil || f < float64(*a.max))
}

// kinds is the sum over the arms.
func (c *constraint) kinds() kind {
	var k kind
	for _, a := range c.arms {
		k |= a.kinds
	}
	return k
}

// structArm gives the arm for structs, if there is one; lower lets no constraint have two.
func (c *constraint) structArm() *arm {
	for _, a := range c.arms {
		if a.kinds&structKind != 0 {
			return a
		}
	}
	return nil
}

// expectation says what would be right, to follow "is not" or "must be".
func (c *constraint) expectation() string { return c.expects(nil) }

// expects is the expectation without the values that are refused.
func (c *constraint) expects(refused []valueBlock) string {
	if c.doc != "" {
		return c.doc
	}
	var others []string
	literals := c.literals(refused)
	for _, a := range c.arms {
		if text := a.expectation(); a.literal == nil && !slices.Contains(others, text) {
			others = append(others, text)
		}
	}
	switch {
	case len(literals) == 1:
		others = append([]string{literals[0]}, others...)
	case len(literals) > 1:
		others = append([]string{"one of " + strings.Join(literals, ", ")}, others...)
	}
	return strings.Join(others, ", or ")
}

// literals are the values that a constraint lists, without the refused ones and the one that says nothing.
func (c *constraint) literals(refused []valueBlock) []string {
	var all []string
	for _, a := range c.arms {
		if a.literal != nil && *a.literal != "" && !slices.ContainsFunc(refused, func(b valueBlock) bool { return b.value == *a.literal }) {
			all = append(all, *a.literal)
		}
	}
	return all
}

func (a *arm) expectation() string {
	s := a.kinds.String()
	switch {
	case a.doc != "":
		return a.doc
	case a.fields != nil && a.fields.name != "":
		if _, is, ok := strings.Cut(a.fields.doc, a.fields.name+" is "); ok && len(a.fields.fields) == 0 {
			return strings.TrimSuffix(is, ".")
		}
		name := strings.TrimPrefix(a.fields.name, "#")
		if strings.ContainsRune("AEIOU", rune(name[0])) {
			return "an " + name
		}
		return "a " + name
	case a.kinds == listKind && a.minItems > 0:
		return "a list with at least " + strconv.Itoa(a.minItems) + " item"
	case a.kinds == listKind && a.maxItems > 0:
		return "a list with at most " + strconv.Itoa(a.maxItems) + " item"
	case len(a.patterns) == 1 && a.patterns[0].want:
		s += " that matches " + a.patterns[0].re.String()
	case a.min != nil && a.max != nil:
		s += " from " + strconv.FormatInt(*a.min, 10) + " to " + strconv.FormatInt(*a.max, 10)
	}
	return s
}
