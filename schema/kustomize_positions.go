package schema

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// originAnnotation is where kustomize notes the file that an object comes from.
const originAnnotation = "config.kubernetes.io/origin"

// locate gives an object that kustomize made the positions of the source that it was made from, as far as they agree.
func (b *kustomizeBuild) locate(k *kustomization, doc *value, keep bool) {
	noted := doc.at([]any{"metadata", "annotations", originAnnotation})
	settle(doc, api.Position{File: k.file, Line: 1, Column: 1})
	if noted.kind != stringKind {
		return
	}
	file, generated := originFile(b.dir, noted.text)
	if !keep {
		strip(doc, originAnnotation)
	}
	if file == "" || !b.fs.read[contents+file] {
		return
	}
	source := b.origin(file, doc, generated)
	if source == nil {
		settle(doc, api.Position{File: file})
		return
	}
	settle(doc, source.pos)
	agree(doc, source)
}

// originFile reads an origin: a file of objects, or the kustomization file that generated the object.
func originFile(dir, text string) (file string, generated bool) {
	docs, _ := readYAML("", []byte(text))
	if len(docs) != 1 || docs[0].str("repo") != "" {
		return "", false
	}
	if p := docs[0].str("path"); p != "" {
		return path.Join(dir, p), false
	}
	if p := docs[0].str("configuredIn"); p != "" {
		return path.Join(dir, p), true
	}
	return "", false
}

// strip removes an annotation, and the maps that are then empty.
func strip(doc *value, name string) {
	metadata := doc.get("metadata")
	annotations := metadata.get("annotations")
	if annotations == nil {
		return
	}
	annotations.fields = slices.DeleteFunc(annotations.fields, func(f field) bool { return f.name == name })
	if len(annotations.fields) == 0 {
		metadata.fields = slices.DeleteFunc(metadata.fields, func(f field) bool { return f.name == "annotations" })
	}
}

// origin finds the document that an object was made from, or the entry of the generator that made it.
func (b *kustomizeBuild) origin(file string, doc *value, generated bool) *value {
	name := doc.str("metadata", "name")
	if generated {
		field := "configMapGenerator"
		if doc.str("kind") == "Secret" {
			field = "secretGenerator"
		}
		k := b.visited[path.Dir(file)]
		if k == nil || k.doc.get(field) == nil {
			return nil
		}
		return closest(k.doc.get(field).items, name, func(v *value) string { return v.str("name") })
	}
	docs, ok := b.sources[file]
	if !ok {
		docs = b.documents(file)
		b.sources[file] = docs
	}
	kind := doc.str("kind")
	same := slices.DeleteFunc(slices.Clone(docs), func(v *value) bool { return v.str("kind") != kind })
	return closest(same, name, func(v *value) string { return v.str("metadata", "name") })
}

// documents reads the objects of a file, those of Lists too.
func (b *kustomizeBuild) documents(file string) []*value {
	data, err := b.fs.l.read(file)
	if err != nil {
		return nil
	}
	read := readYAML
	if path.Ext(file) == ".json" {
		read = readJSON
	}
	docs, _ := read(file, data)
	var all []*value
	for _, doc := range docs {
		if items := doc.get("items"); items != nil && strings.HasSuffix(doc.str("kind"), "List") {
			all = append(all, items.items...)
			continue
		}
		all = append(all, doc)
	}
	return all
}

// closest is the candidate whose name is most of an object's name, to which kustomize may have added at both ends. The
// only candidate is it whatever its name, which may have been patched.
func closest(all []*value, name string, nameOf func(*value) string) *value {
	if len(all) == 1 {
		return all[0]
	}
	inside := slices.DeleteFunc(slices.Clone(all), func(v *value) bool {
		return nameOf(v) == "" || !strings.Contains(name, nameOf(v))
	})
	if len(inside) == 0 {
		return nil
	}
	return slices.MaxFunc(inside, func(a, b *value) int { return cmp.Compare(len(nameOf(a)), len(nameOf(b))) })
}

// settle gives a value and all of its members one position.
func settle(v *value, pos api.Position) {
	v.pos = pos
	for _, item := range v.items {
		settle(item, pos)
	}
	for i := range v.fields {
		v.fields[i].pos = pos
		settle(v.fields[i].value, pos)
	}
}

// agree gives members the positions of those of the source that they stem from. A scalar that differs was written
// elsewhere, and keeps that of what holds it.
func agree(made, source *value) {
	if made.kind != source.kind {
		return
	}
	switch made.kind {
	case structKind:
		for i := range made.fields {
			f := &made.fields[i]
			for _, s := range source.fields {
				if s.name != f.name {
					continue
				}
				if f.value.kind == s.value.kind && (f.value.kind&(structKind|listKind) != 0 || f.value.text == s.value.text) {
					f.pos = s.pos
					settle(f.value, s.value.pos)
					agree(f.value, s.value)
				}
			}
		}
	case listKind:
		for i, item := range made.items {
			if s := partner(source.items, item, i); s != nil {
				settle(item, s.pos)
				agree(item, s)
			}
		}
	}
}

// partner is the item of a source list that an item stems from: the one of its name, or else the one in its place.
func partner(items []*value, item *value, i int) *value {
	if name := item.str("name"); name != "" {
		for _, s := range items {
			if s.str("name") == name {
				return s
			}
		}
		return nil
	}
	if i < len(items) && items[i].kind == item.kind && (item.kind&(structKind|listKind) != 0 || items[i].text == item.text) {
		return items[i]
	}
	return nil
}
