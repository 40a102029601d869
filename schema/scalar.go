package schema

import (
	"encoding/base64"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// scalar reads a scalar as Kubernetes' tools do: by YAML 1.1, in which an unquoted yes is a bool and 0644 is octal.
func (r *yamlReader) scalar(v *value, n *yaml.Node) error {
	v.kind, v.text = stringKind, n.Value
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	tag := ""
	if n.Style&yaml.TaggedStyle != 0 {
		tag = n.ShortTag()
	}
	want := anyKind
	switch tag {
	case "!!str", "!!timestamp":
		return nil
	case "!!binary":
		data, err := base64.StdEncoding.DecodeString(n.Value)
		if err != nil || !utf8.Valid(data) {
			return r.errorf(n, "!!binary must be text in base64")
		}
		v.text = string(data)
		return nil
	case "":
		if n.Style&quoted != 0 {
			return nil
		}
	case "!!int":
		want = intKind
	case "!!float":
		want = intKind | floatKind
	case "!!bool":
		want = boolKind
	case "!!null":
		want = nullKind
	default:
		return r.errorf(n, "the tag %s means nothing here: remove it", r.shown(tag))
	}
	kind, text, ok := resolveScalar(n.Value)
	switch {
	case !ok:
		return r.errorf(n, "%s is not a number that JSON can hold", r.shown(shorten(n.Value)))
	case kind&want == 0:
		return r.errorf(n, "%s is not %s, as its tag says", r.shown(shorten(n.Value)), want)
	}
	v.kind, v.text = kind, text
	if text != n.Value {
		v.written = n.Value
	}
	return nil
}

// resolveScalar gives a plain scalar's kind, and its text as JSON has it. It is not ok for infinity and not-a-number.
func resolveScalar(s string) (kind, string, bool) {
	if s == "" {
		return nullKind, "", true
	}
	// Most scalars are words: only these first characters start anything else.
	if !strings.ContainsRune("0123456789+-.~nNtTfFyYoO", rune(s[0])) {
		return stringKind, s, true
	}
	switch s {
	case "~", "null", "Null", "NULL":
		return nullKind, "", true
	case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y":
		return boolKind, "true", true
	case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N":
		return boolKind, "false", true
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN":
		return floatKind, s, false
	}
	if k, text, ok := resolveNumber(s); ok {
		return k, text, true
	}
	return stringKind, s, true
}

// yamlFloat is a float in YAML 1.1's decimal form.
var yamlFloat = regexp.MustCompile(`^[-+]?([0-9]*\.?[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?$`)

func resolveNumber(s string) (kind, string, bool) {
	if strings.ContainsRune("nNtTfFyYoO~", rune(s[0])) {
		return 0, "", false
	}
	plain := strings.ReplaceAll(s, "_", "")
	// Base 0 knows 0x, 0b, 0o and a leading 0 for octal.
	if n, ok := new(big.Int).SetString(plain, 0); ok && plain == strings.TrimSpace(plain) {
		if n.IsInt64() || n.IsUint64() {
			return intKind, n.String(), true
		}
	}
	if !yamlFloat.MatchString(plain) {
		return 0, "", false
	}
	f, err := strconv.ParseFloat(plain, 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, "", false
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e21 {
		return intKind, strconv.FormatFloat(f, 'f', -1, 64), true
	}
	return floatKind, strconv.FormatFloat(f, 'g', -1, 64), true
}
