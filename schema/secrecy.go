package schema

import (
	"path"
	"regexp"
	"slices"

	"cuelang.org/go/cue/build"
)

var (
	// secretKind matches the kind of a Secret in YAML or JSON, or of a List of them.
	secretKind = regexp.MustCompile(`kind["']?\s*:\s*(?:!\S+\s+)?["']?Secret`)
	// quotation matches what messages of libraries quote: in quotes of any kind, the last of which may be cut off.
	quotation = regexp.MustCompile("'[^']{2,}'" + `|"(?:[^"\\]|\\.)*(?:"|$)|` + "`[^`]*`")
	// cueSecret matches what makes a Secret in CUE.
	cueSecret = regexp.MustCompile(`"Secret"|#Secret\b`)
	numeral   = regexp.MustCompile(`\b[0-9][0-9_.]*`)
)

// mentionsSecret tells whether a text may hold a Secret. It rather errs on the side of secrecy: what is wrong with the
// text may be why it does not look like one.
func mentionsSecret(text []byte) bool { return secretKind.Match(text) }

// withoutQuotes leaves out of a library's message what it quotes.
func withoutQuotes(message string) string { return quotation.ReplaceAllString(message, notShown) }

// withoutValues leaves out of a message of CUE's what it quotes, and the numbers.
func withoutValues(message string) string {
	return numeral.ReplaceAllString(withoutQuotes(message), notShown)
}

// hidden shows nothing of a text.
func hidden(string) string { return notShown }

// shownWhole shows all of a text.
func shownWhole(s string) string { return s }

// shown gives what may be shown of a text.
func (r *yamlReader) shown(s string) string {
	if r.secret {
		return notShown
	}
	return s
}

// shown gives what may be shown of a text.
func (r *jsonReader) shown(s string) string {
	if r.secret {
		return notShown
	}
	return s
}

// makesSecret tells whether a package, or one that it imports, may make a Secret. Definitions that are vendored, or come
// with the program, do not make any by themselves.
func (m *cueModule) makesSecret(i *build.Instance) bool {
	return slices.ContainsFunc(i.BuildFiles, func(f *build.File) bool {
		file := m.inTree(f.Filename)
		_, vendored := below(file, m.inMod())
		data, ok := f.Source.([]byte)
		return ok && !vendored && !m.carried[path.Dir(file)] && cueSecret.Match(data)
	}) || slices.ContainsFunc(i.Imports, m.makesSecret)
}
