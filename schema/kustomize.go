package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"headway.dev/headway/api"
)

// kustomizing is held while kustomize builds: the schema that it merges by belongs to the process.
var kustomizing sync.Mutex

// A kustomizeBuild builds one kustomization.
type kustomizeBuild struct {
	fs      *kustomizeFS
	dir     string
	visited map[string]*kustomization // by directory
	sources map[string][]*value       // the documents of files that objects came from
	result  Evaluation
}

// evaluateKustomization builds the kustomization of a directory. Whatever happens, it yields an evaluation.
func (c *Compiler) evaluateKustomization(l *listing, dir string) *Evaluation {
	b := &kustomizeBuild{
		fs:  &kustomizeFS{l: l, kinds: map[string]fs.FileMode{}, read: map[string]bool{}, replaced: map[string][]byte{}},
		dir: dir, visited: map[string]*kustomization{}, sources: map[string][]*value{},
	}
	failed := c.guard(path.Join(dir, kustomizationNames()[0]), func() *fileResult {
		b.check(dir, nil)
		if len(b.result.problems) == 0 {
			b.build()
		}
		return &fileResult{}
	})
	b.result.problems = append(b.result.problems, failed.problems...)
	b.result.read = slices.Sorted(maps.Keys(b.fs.read))
	return &b.result
}

// check looks over a kustomization and all that it builds on. Kustomize would tell of the first fault only, and would
// fetch what it does not find.
func (b *kustomizeBuild) check(dir string, from []string) {
	if b.visited[dir] != nil {
		return
	}
	file, data := b.find(dir)
	if file == "" {
		return
	}
	k := parseKustomization(file, data)
	if k == nil {
		b.problem(api.Position{File: file}, "", "is no kustomization: its apiVersion is of another group")
		return
	}
	b.visited[dir] = k
	b.result.problems = append(b.result.problems, k.problems...)
	for _, link := range k.links {
		b.checkLink(k, link, append(slices.Clip(from), dir))
	}
}

// find reads the kustomization file of a directory.
func (b *kustomizeBuild) find(dir string) (file string, data []byte) {
	for _, name := range kustomizationNames() {
		at := path.Join(dir, name)
		content, err := b.fs.ReadFile(path.Join(kustomizeRoot, at))
		switch {
		case err == nil && file != "":
			b.problem(api.Position{File: at}, "", "%s is in the same directory: keep one of them", path.Base(file))
		case err == nil:
			file, data = at, content
		case b.fs.mode(at) != missing:
			b.problem(api.Position{File: at}, "", "cannot be read: %v", err)
		}
	}
	return file, data
}

func (b *kustomizeBuild) problem(pos api.Position, field, format string, args ...any) {
	b.result.problems = append(b.result.problems, api.Problem{Source: pos, Field: field, Message: fmt.Sprintf(format, args...)})
}

// checkLink checks that a link leads to something of the right sort in the tree.
func (b *kustomizeBuild) checkLink(k *kustomization, link kustomizeLink, from []string) {
	to, bad := k.resolve(link)
	if bad != "" {
		b.problem(link.pos, link.field, "%s", bad)
		return
	}
	switch m := b.fs.mode(to); {
	case m == fs.ModeSymlink:
		b.problem(link.pos, link.field, "%s is a link, or leads through one, which is not followed: commit the files themselves", shorten(link.text))
	case m == missing:
		b.problem(link.pos, link.field, "there is no %s in the repository%s", to, b.similar(to))
	case m.IsDir() && link.target == toFile:
		b.problem(link.pos, link.field, "%s is a directory: name a file", to)
	case !m.IsDir() && link.target == toDirectory:
		b.problem(link.pos, link.field, "%s is a file: name the directory of a kustomization, or list the file under resources", to)
	case slices.Contains(from, to):
		b.problem(link.pos, link.field, "%s leads back here: a kustomization cannot be part of itself", to)
	case m.IsDir():
		b.check(to, from)
		if b.visited[to] == nil && len(b.result.problems) == 0 {
			b.problem(link.pos, link.field, "directory %s has no kustomization.yaml: add one that lists its manifests, or list the files themselves", to)
		}
	case strings.HasPrefix(link.field, "generators") || strings.HasPrefix(link.field, "transformers") || strings.HasPrefix(link.field, "validators"):
		b.checkPlugins(to)
	}
}

// similar names what stands where something is missing, if anything has a like name.
func (b *kustomizeBuild) similar(name string) string {
	names, err := b.fs.ReadDir(path.Join(kustomizeRoot, path.Dir(name)))
	if err != nil {
		return ""
	}
	if near := nearest(path.Base(name), names); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// checkPlugins refuses configurations of anything but kustomize's own transformers, and those that name something remote.
func (b *kustomizeBuild) checkPlugins(file string) {
	data, err := b.fs.ReadFile(path.Join(kustomizeRoot, file))
	if err != nil {
		b.problem(api.Position{File: file}, "", "cannot be read: %v", err)
		return
	}
	docs, problems := readYAML(file, data)
	b.result.problems = append(b.result.problems, problems...)
	for _, doc := range docs {
		if v := doc.str("apiVersion"); v != "builtin" || doc.str("kind") == "HelmChartInflationGenerator" {
			b.problem(doc.pos, "", "%s of %s is a plugin, and headway runs none: commit what it makes", shorten(doc.str("kind")), shorten(v))
		}
		b.checkRemote(doc)
	}
}

func (b *kustomizeBuild) checkRemote(v *value) {
	if v.kind == stringKind && remote.MatchString(v.text) {
		b.problem(v.pos, "", "%s is not in the repository, and headway fetches nothing: commit a copy and name that", shorten(v.text))
	}
	for _, item := range v.items {
		b.checkRemote(item)
	}
	for _, f := range v.fields {
		b.checkRemote(f.value)
	}
}

// build runs kustomize.
func (b *kustomizeBuild) build() {
	k := b.visited[b.dir]
	if k == nil {
		b.problem(api.Position{File: b.dir}, "", "holds no kustomization file any more")
		return
	}
	b.fs.replaced[k.file] = withOrigins(k.doc)
	made, err := b.run()
	if err != nil && b.malformed() {
		return
	}
	if err != nil {
		b.problem(b.blame(k.file, err), "", "kustomize cannot build it: %s", b.withoutSecrets(kustomizeReason(err)))
		return
	}
	text, err := made.AsYaml()
	if err != nil {
		b.problem(api.Position{File: k.file}, "", "kustomize cannot build it: %s", b.withoutSecrets(kustomizeReason(err)))
		return
	}
	docs, problems := readYAML(k.file, text)
	for _, p := range problems {
		p.Source = api.Position{File: k.file} // the position is in what kustomize made
		b.result.problems = append(b.result.problems, p)
	}
	keep := asksForOrigins(k.doc)
	for _, doc := range docs {
		b.locate(k, doc, keep)
	}
	b.result.docs = docs
}

// malformed reports the faults of the YAML files that kustomize read, of which it gives no line.
func (b *kustomizeBuild) malformed() bool {
	before := len(b.result.problems)
	for _, k := range b.visited {
		for _, link := range k.links {
			file, _ := k.resolve(link)
			if ext := path.Ext(file); !b.fs.read[contents+file] || ext != ".yaml" && ext != ".yml" {
				continue
			}
			if data, err := b.fs.l.read(file); err == nil {
				_, problems := readYAML(file, data)
				b.result.problems = append(b.result.problems, problems...)
			}
		}
	}
	return len(b.result.problems) > before
}

// run has kustomize build. A schema of a kustomization's own is for it alone, and is all that it has: kustomize adds it to what the
// process has, so that what is built would depend on what was built before.
func (b *kustomizeBuild) run() (made resmap.ResMap, err error) {
	kustomizing.Lock()
	defer kustomizing.Unlock()
	if b.hasSchema() {
		openapi.ResetOpenAPI()
		defer openapi.ResetOpenAPI()
	}
	defer func() {
		p := recover()
		if failed, ok := p.(error); ok && strings.HasPrefix(failed.Error(), "invalid schema file") {
			err = errors.New("openapi.path must name an OpenAPI schema in JSON") // what it says itself is worded by chance
		} else if p != nil {
			panic(p)
		}
	}()
	options := krusty.MakeDefaultOptions()
	// Files may come from anywhere in the tree; there is nothing else that they could come from.
	options.LoadRestrictions = types.LoadRestrictionsNone
	return krusty.MakeKustomizer(options).Run(b.fs, path.Join(kustomizeRoot, b.dir))
}

// hasSchema reports whether a kustomization that is built brings a schema.
func (b *kustomizeBuild) hasSchema() bool {
	for _, k := range b.visited {
		if k.doc.get("openapi") != nil {
			return true
		}
	}
	return false
}

func asksForOrigins(doc *value) bool {
	if list := doc.get("buildMetadata"); list != nil {
		return slices.ContainsFunc(list.items, func(v *value) bool { return v.text == types.OriginAnnotations })
	}
	return false
}

// withOrigins writes a kustomization anew, so that kustomize notes where objects come from.
func withOrigins(doc *value) []byte {
	plain, ok := plainJSON(doc).(map[string]any)
	if !ok {
		return nil
	}
	if !asksForOrigins(doc) {
		list, _ := plain["buildMetadata"].([]any)
		plain["buildMetadata"] = append(list, types.OriginAnnotations)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(plain); err != nil {
		return nil
	}
	return out.Bytes()
}

// plainJSON gives a value in the types of encoding/json.
func plainJSON(v *value) any {
	switch v.kind {
	case boolKind:
		return v.text == "true"
	case intKind, floatKind:
		return json.Number(v.text)
	case stringKind:
		return v.text
	case listKind:
		list := make([]any, len(v.items))
		for i, item := range v.items {
			list[i] = plainJSON(item)
		}
		return list
	case structKind:
		fields := make(map[string]any, len(v.fields))
		for _, f := range v.fields {
			fields[f.name] = plainJSON(f.value)
		}
		return fields
	}
	return nil
}

var (
	// retried is what kustomize says of a resource once it has tried it as a directory too.
	retried  = regexp.MustCompile(`accumulation err='(.*?)'?: (must build at directory|(evalsymlink|recursed|new root|get:)).*`)
	trail    = regexp.MustCompile(`(recursed )?(accumulating|merging|accumulation of) [a-z]+( from| of path)?( '[^']*')?: `)
	treePath = regexp.MustCompile(regexp.QuoteMeta(kustomizeRoot) + `(/([^\s'":;,)]+))?`)
)

// blame finds the deepest file that an error names.
func (b *kustomizeBuild) blame(file string, err error) api.Position {
	for _, m := range treePath.FindAllStringSubmatch(err.Error(), -1) {
		if m[2] == "" {
			continue
		}
		if k := b.visited[path.Clean(m[2])]; k != nil {
			file = k.file
		} else if b.fs.kinds[m[2]].IsRegular() && b.fs.read[contents+m[2]] {
			file = m[2]
		}
	}
	return api.Position{File: file}
}

// kustomizeReason takes out of an error of kustomize's the way that it came, and paths that nobody knows.
func kustomizeReason(err error) string {
	text := treePath.ReplaceAllString(err.Error(), "$2")
	text = trail.ReplaceAllString(retried.ReplaceAllString(strings.Join(strings.Fields(text), " "), "$1"), "")
	return text
}
