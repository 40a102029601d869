package schema

import (
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzKustomize looks that no kustomization and no patch makes the compiler panic, and that none takes along what it does not
// reach. The base that it may build on is good.
func FuzzKustomize(f *testing.F) {
	for _, s := range []string{
		"resources: [../base]\nnamePrefix: p-\nnamespace: prod\ncommonLabels: {a: b}\npatches: [{path: patch.yaml}]",
		"resources: [../base]\npatches:\n- target: {kind: Service}\n  patch: |-\n    - {op: replace, path: /spec/ports/0/port, value: 8080}",
		"resources: [../base]\nconfigMapGenerator: [{name: settings, literals: [a=b], files: [patch.yaml], envs: [patch.yaml], behavior: merge}]\ngeneratorOptions: {disableNameSuffixHash: true}",
		"bases: [../base]\nvars: [{name: X, objref: {kind: Service, name: web, apiVersion: v1}, fieldref: {fieldpath: spec.clusterIP}}]\npatchesStrategicMerge: [patch.yaml]",
		"resources: [../base]\nreplacements:\n- source: {kind: Service, name: web, fieldPath: 'spec.ports.0.port'}\n  targets: [{select: {kind: Deployment}, fieldPaths: ['spec.template.spec.containers.[name=web].args.0'], options: {create: true, delimiter: ':', index: 1}}]",
		"resources: [../base]\nimages: [{name: shop/web, newName: m/web, digest: 'sha256:00'}]\nreplicas: [{name: web, count: 3}]\nsecretGenerator: [{name: s, type: Opaque, literals: [a=b]}]",
		"resources: [., .., ../../x, 'https://example.com/a', '/etc/passwd', ../app]\ncomponents: [../app]",
		"patchesJson6902: [{target: {version: v1, kind: Service, name: web}, path: patch.yaml}]\nresources: [../base]\nopenapi: {path: patch.yaml}\nsortOptions: {order: fifo}",
		"labels: [{pairs: {a: b}, includeSelectors: true, fields: [{path: spec/x, create: true}]}]\nresources: [../base]\nnameSuffix: -x\nbuildMetadata: [originAnnotations]",
	} {
		f.Add(s, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, $patch: delete}]}}}")
		f.Add(s, "- {op: remove, path: /spec/ports/0}\n- {op: test, path: /a~1b, value: null}")
	}
	f.Fuzz(func(t *testing.T, kustomization, patch string) {
		if len(kustomization)+len(patch) > 4096 {
			t.Skip()
		}
		c, err := fuzzCompiler()
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Compile(t.Context(), fstest.MapFS{
			"base/kustomization.yaml": {Data: []byte("resources: [web.yaml]")},
			"base/web.yaml": {Data: []byte("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}], selector: {a: b}}\n---\n" +
				"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: web, image: shop/web:1}]}}}")},
			"app/kustomization.yaml": {Data: []byte(kustomization)},
			"app/patch.yaml":         {Data: []byte(patch)},
			"apart/good.yaml":        {Data: []byte("{apiVersion: v1, kind: Node, metadata: {name: the-good-one}}")},
		})
		if err != nil {
			t.Fatal(err)
		}
		good := strings.Contains(kustomization+patch, "the-good-one") || strings.Contains(kustomization, "apart")
		for _, o := range r.Objects {
			good = good || o.Ref.Name == "the-good-one"
		}
		if !good {
			t.Errorf("%q, %q took the good object along: %v", kustomization, patch, r.Problems)
		}
		for _, p := range r.Problems {
			if strings.Contains(p.Message, "headway failed on this file") || p.Source.File == "" || p.Message == "" {
				t.Errorf("%q, %q: %s", kustomization, patch, p)
			}
		}
	})
}
