package schema

import (
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"headway.dev/headway/api"
)

// A kustomization is one kustomization file as written.
type kustomization struct {
	file      string
	doc       *value
	component bool
	links     []kustomizeLink
	problems  []api.Problem // of the file itself: what it refers to is not looked at
}

// A kustomizeLink is a path that a kustomization file names.
type kustomizeLink struct {
	field  string
	text   string
	pos    api.Position
	target linkTarget
}

// linkTarget says what a link may lead to.
type linkTarget uint8

const (
	toFile      linkTarget = iota // a file
	toTree                        // a file of objects, or a directory with a kustomization
	toDirectory                   // a directory with a kustomization
)

// isKustomization tells the files that kustomize takes for kustomizations.
func isKustomization(name string) bool {
	switch path.Base(name) {
	case "kustomization.yaml", "kustomization.yml", "Kustomization":
		return true
	}
	return false
}

func kustomizationNames() []string {
	return []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}
}

// parseKustomization reads a kustomization file. It gives nil for an object of another group that only has the name.
func parseKustomization(file string, data []byte) *kustomization {
	k := &kustomization{file: file}
	docs, problems := readYAML(file, data)
	k.problems = problems
	switch {
	case len(problems) > 0:
		return k
	case len(docs) == 0:
		k.problem(api.Position{File: file}, "", "is empty: list the manifests under resources, or remove the file")
		return k
	case len(docs) > 1:
		k.problem(docs[1].pos, "", "a kustomization file holds one document, and this is the second: move it to a file of its own")
		return k
	case docs[0].kind != structKind:
		k.problem(docs[0].pos, "", "is no kustomization: it is %s, not a map", docs[0].kind)
		return k
	}
	k.doc = docs[0]
	if v := k.doc.str("apiVersion"); v != "" && groupOf(v) != "kustomize.config.k8s.io" {
		return nil
	}
	k.component = k.doc.str("kind") == types.ComponentKind
	k.refuse()
	k.fields()
	k.collect()
	return k
}

func (k *kustomization) problem(pos api.Position, field, format string, args ...any) {
	k.problems = append(k.problems, api.Problem{Source: pos, Field: field, Message: fmt.Sprintf(format, args...)})
}

// refuse reports what would run programs or reach out of the repository.
func (k *kustomization) refuse() {
	for _, f := range k.doc.fields {
		switch f.name {
		case "helmCharts", "helmChartInflationGenerator", "helmGlobals":
			k.problem(f.pos, f.name, "headway runs no Helm: render the chart, commit the result, and list that under resources")
		}
	}
}

// fields reports the fields that kustomize does not know, of which it says neither where nor what was meant.
func (k *kustomization) fields() {
	names := []string{"apiVersion", "kind"}
	for f := range reflect.TypeFor[types.Kustomization]().Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	for _, f := range k.doc.fields {
		if slices.Contains(names, f.name) {
			continue
		}
		if near := nearest(f.name, names); near != "" {
			k.problem(f.pos, "", "%s is not a field of a kustomization; did you mean %s?", shorten(f.name), near)
		} else {
			k.problem(f.pos, "", "%s is not a field of a kustomization", shorten(f.name))
		}
	}
}

// collect finds the paths that the file names.
func (k *kustomization) collect() {
	for field, target := range map[string]linkTarget{
		"resources": toTree, "bases": toDirectory, "components": toDirectory, "crds": toFile, "configurations": toFile,
		"generators": toFile, "transformers": toFile, "validators": toFile, "patchesStrategicMerge": toFile,
	} {
		k.list(field, k.doc.get(field), target)
	}
	for _, field := range []string{"patches", "patchesJson6902", "replacements"} {
		if list := k.doc.get(field); list != nil {
			for i, item := range list.items {
				k.link(fmt.Sprintf("%s[%d].path", field, i), item.get("path"), toFile)
			}
		}
	}
	k.link("openapi.path", k.doc.get("openapi").get("path"), toFile)
	for _, field := range []string{"configMapGenerator", "secretGenerator"} {
		if list := k.doc.get(field); list != nil {
			for i, item := range list.items {
				at := fmt.Sprintf("%s[%d].", field, i)
				k.list(at+"files", item.get("files"), toFile)
				k.list(at+"envs", item.get("envs"), toFile)
				k.link(at+"env", item.get("env"), toFile)
			}
		}
	}
	slices.SortFunc(k.links, func(a, b kustomizeLink) int { return comparePositions(a.pos, b.pos) })
}

func (k *kustomization) list(field string, list *value, target linkTarget) {
	if list == nil {
		return
	}
	for i, item := range list.items {
		k.link(fmt.Sprintf("%s[%d]", field, i), item, target)
	}
}

func (k *kustomization) link(field string, v *value, target linkTarget) {
	if v == nil || v.kind != stringKind || v.text == "" {
		return
	}
	text := v.text
	if strings.Contains(field, "Generator[") {
		if _, file, ok := strings.Cut(text, "="); ok {
			text = file
		}
	} else if target == toFile && isInline(text) {
		return
	}
	k.links = append(k.links, kustomizeLink{field, text, v.pos, target})
}

// isInline tells YAML that stands where a path could.
func isInline(text string) bool { return strings.ContainsAny(text, "\n{") }

// remote matches what kustomize would clone or download, and some more.
var remote = regexp.MustCompile(`(?i)^(git::|gh:|[a-z][a-z0-9+.-]*://|github\.com[/:]|[^/]+@[^/]+[:/])`)

// resolve gives the path in the tree that a link leads to, or why it leads to none.
func (k *kustomization) resolve(l kustomizeLink) (string, string) {
	switch {
	case remote.MatchString(l.text) || strings.Contains(l.text, "?ref="):
		return "", fmt.Sprintf("%s is not in the repository, and headway fetches nothing: commit a copy and name that", shorten(l.text))
	case path.IsAbs(l.text) || strings.HasPrefix(l.text, `\`):
		return "", fmt.Sprintf("%s is an absolute path: write it relative to this directory", shorten(l.text))
	}
	to := path.Join(path.Dir(k.file), l.text)
	if to == ".." || strings.HasPrefix(to, "../") {
		return "", fmt.Sprintf("%s lies outside of the tree: move it into the repository, below the path that is synced", shorten(l.text))
	}
	return to, ""
}

// deprecated are the fields that kustomize still reads, but advises against, with what it has instead. The library prints
// that on standard error, without the file.
func deprecated() map[string]string {
	return map[string]string{
		"bases": "resources", "commonLabels": "labels", "imageTags": "images", "patchesJson6902": "patches",
		"patchesStrategicMerge": "patches", "vars": "replacements",
	}
}

// deprecations notes the fields that kustomize advises against.
func (k *kustomization) deprecations() []note {
	if k.doc == nil {
		return nil
	}
	var notes []note
	for _, f := range k.doc.fields {
		if instead, ok := deprecated()[f.name]; ok && f.value.kind != nullKind {
			notes = append(notes, note{key: "Kustomization." + f.name, problem: api.Problem{
				Source: f.pos, Field: f.name, Message: "is deprecated by kustomize: write " + instead, Warning: true,
			}})
		}
	}
	return notes
}
