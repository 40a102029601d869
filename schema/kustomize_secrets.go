package schema

import (
	"cmp"
	"slices"
	"strings"
)

// shortestSecret is the length of a text, in bytes, that is looked for in messages; shorter ones are parts of many words.
const shortestSecret = 3

// withoutSecrets takes out of a message of kustomize's every text that a Secret may be made from.
func (b *kustomizeBuild) withoutSecrets(message string) string {
	var texts []string
	for _, k := range b.visited {
		if k.doc != nil {
			texts = append(texts, b.secretTexts(k)...)
		}
	}
	for i, t := range texts {
		texts[i] = strings.Join(strings.Fields(t), " ") // as the message is
	}
	// What is part of another must not spoil it.
	slices.SortFunc(texts, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for _, t := range texts {
		if len(t) >= shortestSecret {
			message = strings.ReplaceAll(message, t, notShown)
		}
	}
	return message
}

// secretTexts are the texts of a kustomization, and of the files that it names, which a Secret may be made from.
func (b *kustomizeBuild) secretTexts(k *kustomization) []string {
	var texts []string
	if list := k.doc.get("secretGenerator"); list != nil {
		for _, g := range list.items {
			if literals := g.get("literals"); literals != nil {
				texts = append(texts, pairs(strings.Join(stringsIn(literals), "\n"))...)
			}
		}
	}
	for _, field := range []string{"patches", "patchesJson6902", "patchesStrategicMerge"} {
		list := k.doc.get(field)
		if list == nil {
			continue
		}
		for _, p := range list.items {
			if text := cmp.Or(p.str("patch"), p.str()); p.get("target").str("kind") == "Secret" || mentionsSecret([]byte(text)) {
				texts = append(texts, documentTexts(text)...)
			}
		}
	}
	for _, link := range k.links {
		file, bad := k.resolve(link)
		if bad != "" || !b.fs.read[contents+file] {
			continue
		}
		data, err := b.fs.l.read(file)
		switch {
		case err != nil:
		case strings.HasPrefix(link.field, "secretGenerator"):
			texts = append(texts, pairs(string(data))...)
		case mentionsSecret(data), k.patches(link, "Secret"):
			texts = append(texts, documentTexts(string(data))...)
		}
	}
	return texts
}

// patches tells whether a link is to a patch of objects of a kind.
func (k *kustomization) patches(link kustomizeLink, kind string) bool {
	for _, field := range []string{"patches", "patchesJson6902"} {
		if list := k.doc.get(field); list != nil && strings.HasPrefix(link.field, field+"[") {
			return slices.ContainsFunc(list.items, func(p *value) bool {
				return p.str("path") == link.text && p.get("target").str("kind") == kind
			})
		}
	}
	return false
}

// pairs are the lines of a text, and what follows the first = of each.
func pairs(text string) []string {
	var all []string
	for line := range strings.SplitSeq(text, "\n") {
		all = append(all, line)
		if _, v, ok := strings.Cut(line, "="); ok {
			all = append(all, v)
		}
	}
	return all
}

// documentTexts are a text of YAML itself, and what it holds under the fields of a Secret or of a patch's operation.
func documentTexts(text string) []string {
	all := []string{text}
	docs, _ := readYAML("", []byte(text))
	for _, doc := range docs {
		for _, name := range []string{"data", "stringData"} {
			if v := doc.get(name); v != nil {
				all = append(all, stringsIn(v)...)
			}
		}
		for _, operation := range doc.items {
			if v := operation.get("value"); v != nil {
				all = append(all, stringsIn(v)...)
			}
		}
	}
	return all
}

// stringsIn are the scalars in a value.
func stringsIn(v *value) []string {
	if v.kind&(stringKind|intKind|floatKind) != 0 {
		return []string{v.text}
	}
	var all []string
	for _, item := range v.items {
		all = append(all, stringsIn(item)...)
	}
	for _, f := range v.fields {
		all = append(all, stringsIn(f.value)...)
	}
	return all
}
