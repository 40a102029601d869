package schema_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"headway.dev/headway/api"
	"headway.dev/headway/seal"
)

// TestNoMessageShowsASecret goes through the ways in which a Secret can be wrong, in each language. The value is
// hunter22hunter, or the number 9876543210123.
func TestNoMessageShowsASecret(t *testing.T) {
	const head = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
	const jsonHead = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},`
	const kustomizePod = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: hunter22hunter}\n"
	for name, files := range map[string]map[string]string{
		"anchor":                {"a.yaml": head + "stringData:\n  p: *hunter22hunter\n"},
		"tag":                   {"a.yaml": head + "stringData:\n  p: !hunter22hunter x\n"},
		"tag of a map":          {"a.yaml": head + "stringData:\n  p: !hunter22hunter {a: b}\n"},
		"tagged number":         {"a.yaml": head + "stringData:\n  p: !!int hunter22hunter\n"},
		"number":                {"a.yaml": head + "stringData:\n  p: 9876543210123\n"},
		"list":                  {"a.yaml": head + "stringData:\n  p: [hunter22hunter]\n"},
		"no base64":             {"a.yaml": head + "data:\n  p: hunter22hunter!\n"},
		"text for the map":      {"a.yaml": head + "stringData: hunter22hunter\n"},
		"list for the map":      {"a.yaml": head + "stringData: [p=hunter22hunter]\n"},
		"no space":              {"a.yaml": head + "stringData: {p:hunter22hunter}\n"},
		"no space twice":        {"a.yaml": head + "stringData: {p:hunter22hunter, p:hunter22hunter}\n"},
		"indented by a tab":     {"a.yaml": head + "stringData:\n\tp: hunter22hunter\n"},
		"not indented":          {"a.yaml": head + "stringData:\n  p: hunter22hunter\n q: hunter22hunter\n"},
		"two colons":            {"a.yaml": head + "stringData:\n  p: hunter22hunter: x\n"},
		"quote left open":       {"a.yaml": head + "stringData:\n  p: \"hunter22hunter\n"},
		"bad escape":            {"a.yaml": head + "stringData:\n  p: \"hunter22hunter\\q\"\n"},
		"placeholder":           {"a.yaml": head + "stringData:\n  p: {{ hunter22hunter }}\n"},
		"placeholder in braces": {"a.yaml": head + "stringData:\n  p: x${hunter22hunter}: y\n"},
		"misplaced":             {"a.yaml": head + "metadata: {p: hunter22hunter}\n"},
		"misspelt field":        {"a.yaml": head + "stringdata: {p: hunter22hunter}\n"},
		"doubled":               {"a.yaml": head + "stringData: {p: hunter22hunter, p: hunter22hunter}\n"},
		"declared twice":        {"a.yaml": kustomizePod, "b.yaml": kustomizePod + "type: x\n"},
		"in a List":             {"a.yaml": "apiVersion: v1\nkind: List\nitems:\n- kind: Secret\n  apiVersion: v1\n  metadata: {name: s}\n  stringData: {p: {hunter22hunter: 1}}\n"},
		"JSON, cut off":         {"a.json": jsonHead + `"stringData":{"p":"hunter22hunter`},
		"JSON, no quotes":       {"a.json": jsonHead + `"stringData":{"p":hunter22hunter}}`},
		"JSON, bad escape":      {"a.json": jsonHead + `"stringData":{"p":"hunter22hunter\q"}}`},
		"JSON, number":          {"a.json": jsonHead + `"stringData":{"p":9876543210123e999}}`},
		"JSON, key":             {"a.json": jsonHead + `"stringData":{"hunter22 hunter":"x"}}`},

		"CUE, number":         {"a.cue": "package a\napiVersion: \"v1\"\nkind: \"Secret\"\nmetadata: name: \"s\"\nstringData: p: 9876543210123\n"},
		"CUE, conflict":       {"a.cue": "package a\napiVersion: \"v1\"\nkind: \"Secret\"\nmetadata: name: \"s\"\nstringData: p: \"hunter22hunter\"\nstringData: p: int\n"},
		"CUE, two values":     {"a.cue": "package a\napiVersion: \"v1\"\nkind: \"Secret\"\nmetadata: name: \"s\"\nstringData: p: \"hunter22hunter\"\nstringData: p: \"x\"\n"},
		"CUE, pattern":        {"a.cue": "package a\napiVersion: \"v1\"\nkind: \"Secret\"\nmetadata: name: \"s\"\nstringData: p: \"hunter22hunter\" & =~\"^x\"\n"},
		"CUE, choice":         {"a.cue": "package a\napiVersion: \"v1\"\nkind: \"Secret\"\nmetadata: name: \"s\"\nstringData: p: \"hunter22hunter\" & (\"x\" | \"y\")\n"},
		"CUE, bound":          {"a.cue": "package a\napiVersion: \"v1\"\nkind: \"Secret\"\nmetadata: name: \"s\"\nstringData: p: 9876543210123 & <9\n"},
		"CUE, struct":         {"a.cue": "package a\napiVersion: \"v1\"\nkind: \"Secret\"\nmetadata: name: \"s\"\nstringData: p: {a: \"hunter22hunter\"} & string\n"},
		"CUE, before it":      {"a.cue": "package a\npassword: \"hunter22hunter\" & int\ns: {apiVersion: \"v1\", kind: \"Secret\", metadata: name: \"s\", stringData: p: password}\n"},
		"CUE, a call":         {"a.cue": "package a\nimport \"strconv\"\npassword: strconv.Atoi(\"hunter22hunter\")\ns: {apiVersion: \"v1\", kind: \"Secret\", metadata: name: \"s\", stringData: p: \"\\(password)\"}\n"},
		"CUE, not finished":   {"a.cue": "package a\ns: {apiVersion: \"v1\", kind: \"Secret\", metadata: name: \"s\", stringData: p: =~\"x\" & !=\"hunter22hunter\"}\n"},
		"CUE, base64":         {"a.cue": "package a\nimport \"encoding/base64\"\ns: {apiVersion: \"v1\", kind: \"Secret\", metadata: name: \"s\", data: p: base64.Decode(null, \"hunter22hunter!\")}\n"},
		"CUE, syntax":         {"a.cue": "package a\ns: {apiVersion: \"v1\", kind: \"Secret\", stringData: p: \"hunter22hunter\n"},
		"kustomize, literal":  {"kustomization.yaml": "secretGenerator:\n- name: s\n  literals: [hunter22hunter]\n"},
		"kustomize, env":      {"kustomization.yaml": "secretGenerator:\n- name: s\n  envs: [e]\n", "e": "hunter22hunter=\x00hunter22hunter\nhunter22hunter with a space=x\n=hunter22hunter\n"},
		"kustomize, patch":    {"kustomization.yaml": "resources: [s.yaml]\npatches:\n- patch: |-\n    kind: Secret\n    stringData: hunter22hunter\n", "s.yaml": kustomizePod},
		"kustomize, no patch": {"kustomization.yaml": "resources: [s.yaml]\npatches:\n- target: {kind: Secret}\n  patch: |-\n    hunter22hunter\n", "s.yaml": kustomizePod},
		"kustomize, 6902":     {"kustomization.yaml": "resources: [s.yaml]\npatches:\n- target: {kind: Secret}\n  path: p.yaml\n", "s.yaml": kustomizePod, "p.yaml": "- op: replce\n  path: /stringData/q\n  value: hunter22hunter\n"},
		"kustomize, resource": {"kustomization.yaml": "resources: [s.yaml]\n", "s.yaml": head + "stringData:\n  p: *hunter22hunter\n"},
		"kustomize, made":     {"kustomization.yaml": "resources: [s.yaml]\n", "s.yaml": head + "stringData: {p: [hunter22hunter]}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for file, text := range files {
				tree[file] = &fstest.MapFile{Data: []byte(text)}
			}
			r, err := newCompiler(t, nil).Compile(t.Context(), tree)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Problems) == 0 {
				t.Error("there is no problem to look at")
			}
			for _, p := range r.Problems {
				t.Log(p)
				for _, secret := range []string{"hunter", "9876543", "aHVudGVy"} {
					if strings.Contains(fmt.Sprint(p), secret) {
						t.Errorf("a message shows the secret: %s", p)
					}
				}
			}
		})
	}
}

func TestSecretsHaveFingerprints(t *testing.T) {
	compiler := newCompiler(t, nil)
	compile := func(files map[string]string) map[api.Ref]api.Object {
		t.Helper()
		tree := fstest.MapFS{}
		for name, text := range files {
			tree[name] = &fstest.MapFile{Data: []byte(text)}
		}
		r, err := compiler.Compile(t.Context(), tree)
		if err != nil || !r.Complete {
			t.Fatalf("%v\n%s", err, printResult(r))
		}
		found := map[api.Ref]api.Object{}
		for _, o := range r.Objects {
			found[o.Ref] = o
		}
		return found
	}
	const a = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: x}\n"
	const b = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\ndata: {p: eA==}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
	refA, refB := api.Ref{Kind: "Secret", Namespace: "default", Name: "a"}, api.Ref{Kind: "Secret", Namespace: "default", Name: "b"}
	first := compile(map[string]string{"a.yaml": a + b})
	if want := seal.Fingerprint(refA, []byte(`{"p":"eA=="}`)); first[refA].Fingerprint != want {
		t.Errorf("the fingerprint is %q, not that of the data as JSON, %q", first[refA].Fingerprint, want)
	}
	if first[refA].Fingerprint == first[refB].Fingerprint {
		t.Error("two secrets with one content have one fingerprint: it is not salted with the name")
	}
	if f := first[api.Ref{Kind: "ConfigMap", Namespace: "default", Name: "c"}].Fingerprint; f != "" {
		t.Errorf("a config map has the fingerprint %q", f)
	}
	second := compile(map[string]string{"a.yaml": strings.Replace(a, "p: x", "p: z", 1) + b})
	if second[refA].Fingerprint == first[refA].Fingerprint {
		t.Error("another content has the same fingerprint")
	}
	if second[refB].Fingerprint != first[refB].Fingerprint {
		t.Error("the same content has another fingerprint")
	}
}
