package schema

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/load"
	"pgregory.net/rapid"
)

// samples are objects that between them set every field that has a type.
func samples(t testing.TB) []any {
	t.Helper()
	data, err := os.ReadFile("testdata/samples.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs, problems := readYAML("samples.yaml", data)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var out []any
	for _, d := range docs {
		out = append(out, plain(d))
	}
	return out
}

// plain turns a value into what encoding/json makes of it.
func plain(v *value) any {
	switch v.kind {
	case structKind:
		m := map[string]any{}
		for _, f := range v.fields {
			m[f.name] = plain(f.value)
		}
		return m
	case listKind:
		l := []any{}
		for _, i := range v.items {
			l = append(l, plain(i))
		}
		return l
	case stringKind:
		return v.text
	case boolKind:
		return v.text == "true"
	case nullKind:
		return nil
	}
	return json.Number(v.text)
}

// untyped matches a field that is refused without a type.
var untyped = regexp.MustCompile(`(\?:\s*)_\|_ @refused`)

// loadDefinitions evaluates the definitions in CUE itself.
func loadDefinitions(t testing.TB) cue.Value {
	t.Helper()
	overlay := map[string]load.Source{}
	names, err := fs.Glob(definitions, "*.cue")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := definitions.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// What never has a type is refused by the tables alone, as all that is refused.
		overlay["/schema/"+name] = load.FromBytes(untyped.ReplaceAll(data, []byte("${1}_ @refused")))
	}
	instances := load.Instances([]string{"."}, &load.Config{Dir: "/schema", Overlay: overlay})
	v := cuecontext.New().BuildInstance(instances[0])
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTablesAgreeWithCUE holds the lowered tables against CUE's own evaluation: both take the same objects, and fill in
// the same defaults.
func TestTablesAgreeWithCUE(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defs := loadDefinitions(t)
	all := samples(t)
	rapid.Check(t, func(t *rapid.T) {
		object := clone(all[rapid.IntRange(0, len(all)-1).Draw(t, "sample")]).(map[string]any)
		kind, _ := object["kind"].(string)
		for range rapid.IntRange(0, 2).Draw(t, "mutations") {
			mutate(t, object)
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		def := defs.LookupPath(cue.MakePath(cue.Def(kind)))
		docs, problems := readJSON("x.json", text)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		ck := checker{}
		rule := c.definitions["#"+kind].structArm().fields
		ck.structValue(rule, docs[0])
		unified := cuecontext.New().CompileBytes(text).Unify(def)
		cueErr := unified.Validate(cue.Concrete(true), cue.Final())
		if (cueErr == nil) == ck.unsound {
			t.Fatalf("%s\nCUE: %v\ntables: %v", text, cueErr, ck.problems)
		}
		if cueErr != nil {
			return
		}
		want, err := unified.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, c.definitions["#"+kind], want, ck.out) {
			t.Fatalf("%s\nCUE makes     %s\nthe tables    %s", text, want, ck.out)
		}
	})
}

// sameJSON compares without the status, which the tables empty, and without what says nothing in a refused field of CUE's.
func sameJSON(t *rapid.T, definition *constraint, a, b []byte) bool {
	var x, y map[string]any
	for _, d := range []struct {
		from []byte
		to   *map[string]any
	}{{a, &x}, {b, &y}} {
		dec := json.NewDecoder(bytes.NewReader(d.from))
		if err := dec.Decode(d.to); err != nil {
			t.Fatalf("%s: %v", d.from, err)
		}
		delete(*d.to, "status")
	}
	dropSilent(definition, x)
	return reflect.DeepEqual(x, y)
}

// dropSilent takes away refused fields that say nothing, which the tables let pass as absent.
func dropSilent(c *constraint, v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			dropSilent(elemOf(c), item)
		}
	case map[string]any:
		a := c.structArm()
		if a == nil || a.fields == nil {
			return
		}
		for name, member := range v {
			f := a.fields.byName[name]
			if f == nil {
				continue
			}
			silent := reflect.ValueOf(member).IsZero()
			switch m := member.(type) {
			case []any:
				silent = len(m) == 0
			case map[string]any:
				silent = len(m) == 0 && !f.member
			}
			if f.class == refused && silent {
				delete(v, name)
				continue
			}
			dropSilent(f.typ, member)
		}
	}
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = clone(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = clone(e)
		}
		return l
	}
	return v
}

// mutate changes one place of an object: a field goes, comes, is renamed, or gets another value.
func mutate(t *rapid.T, object map[string]any) {
	at := object
	for {
		keys := slices.Sorted(maps.Keys(at))
		if len(keys) == 0 {
			return
		}
		key := rapid.SampledFrom(keys).Draw(t, "key")
		next := at[key]
		if l, ok := next.([]any); ok && len(l) > 0 {
			next = l[rapid.IntRange(0, len(l)-1).Draw(t, "item")]
		}
		if m, ok := next.(map[string]any); ok && len(m) > 0 && rapid.IntRange(0, 9).Draw(t, "deeper") > 0 {
			at = m
			continue
		}
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			delete(at, key)
		case 1:
			at[key+rapid.SampledFrom([]string{"s", "x", "/y", ".z"}).Draw(t, "suffix")] = at[key]
		case 2:
			at[rapid.SampledFrom(fieldNames()).Draw(t, "field")] = oddValue(t)
		default:
			at[key] = oddValue(t)
		}
		return
	}
}

func fieldNames() []string {
	return []string{"name", "exec", "grpc", "hostPath", "secret", "emptyDir", "nodePort", "value", "port", "labels", "cpu", "a.b/c", "status", "optional"}
}

// oddValue draws values near the edges of what fields take. Values that say nothing (false, 0, "", and empty ones) are
// left out: the tables let refused fields have those.
func oddValue(t *rapid.T) any {
	return rapid.SampledFrom([]any{
		json.Number("1"), json.Number("-1"), json.Number("80"), json.Number("511"), json.Number("512"), json.Number("65535"),
		json.Number("65536"), json.Number("2147483647"), json.Number("2147483648"), json.Number("0.5"), json.Number("1e3"),
		true, "a", "A", "a_b", "a-b", "-a", "a.b", "a/b", "/a", "/a:b", "../a", "a/../b", "..a", "25%", "101%", "100m", "1Gi", "1.5e3", "-1",
		"TCP", "tcp", "Always", "None", "10.0.0.1", "256.0.0.1", "aGk=", "aGk", "nginx:1.2", "Nginx", "metadata.name", "metadata.labels['a']", "status.podIPs",
		"a234567890123456", "x2345678901234567890123456789012345678901234567890123456789012", "x23456789012345678901234567890123456789012345678901234567890123",
		map[string]any{"a": "b"},
		map[string]any{"name": "x"},
		[]any{"a"},
		[]any{map[string]any{"name": "x"}},
	}).Draw(t, "value")
}

// TestSamplesAreSound decodes every sample, and asks that between them they write every field that has a type.
func TestSamplesAreSound(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("testdata/samples.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := c.compileData("samples.yaml", data)
	for _, d := range r.objects {
		if d.value == nil {
			t.Errorf("%s is not sound", d.ref)
		}
	}
	for _, p := range r.problems {
		if !strings.Contains(p.Message, "is refused: ") && !strings.Contains(p.Message, " is not run yet: ") {
			t.Errorf("%s", p)
		}
	}
	docs, _ := readYAML("samples.yaml", data)
	written := map[*fieldRule]bool{}
	for _, doc := range docs {
		markWritten(c.definitions["#"+doc.str("kind")], doc, written)
	}
	all := map[*structRule]bool{}
	for _, k := range kinds() {
		reach(c.definitions[k.definition()].structArm().fields, all)
	}
	for rule := range all {
		for _, f := range rule.fields {
			known := slices.Contains([]string{"apiVersion", "kind", "status"}, f.name) || strings.HasSuffix(rule.name, "Meta")
			if len(f.typ.arms) > 0 && !known && !written[f] {
				t.Errorf("no sample writes %s.%s", rule.name, f.name)
			}
		}
	}
}

// markWritten notes the rules of the fields that a value holds.
func markWritten(c *constraint, v *value, written map[*fieldRule]bool) {
	if v.kind == listKind {
		for _, item := range v.items {
			markWritten(elemOf(c), item, written)
		}
		return
	}
	a := c.structArm()
	if a == nil || a.fields == nil {
		return
	}
	for _, m := range v.fields {
		if f := a.fields.byName[m.name]; f != nil {
			written[f] = true
			markWritten(f.typ, m.value, written)
		}
	}
}
