package schema_test

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"

	"headway.dev/headway/schema"
)

// sharedSchemas are three ways in which the packages of a monorepo say what an application is.
var sharedSchemas = map[string]string{
	"plain": `package app

#App: {
	name:     string
	image:    string
	replicas: int | *2
	objects: {
		deployment: {apiVersion: "apps/v1", kind: "Deployment", spec: {...}}
		service: {apiVersion: "v1", kind: "Service"}
		configMap: {apiVersion: "v1", kind: "ConfigMap", data: [string]: string}
		canary: {apiVersion: "apps/v1", kind: "Deployment"}
	}
}
`,
	"headway": `package app

import "headway.dev/headway/schema"

#App: {
	name:     string
	image:    string
	replicas: int | *2
	objects: {
		deployment: schema.#Deployment
		service: schema.#Service
		configMap: schema.#ConfigMap
		canary: schema.#Deployment
	}
}
`,
	"kubernetes": `package app

import (
	apps "cue.dev/x/k8s.io/api/apps/v1"
	core "cue.dev/x/k8s.io/api/core/v1"
)

#App: {
	name:     string
	image:    string
	replicas: int | *2
	objects: {
		deployment: apps.#Deployment
		service: core.#Service
		configMap: core.#ConfigMap
		canary: apps.#Deployment
	}
}
`,
}

const sharedObjects = `package app

#App: {
	name:     _
	image:    _
	objects: {
		[=~"^(deployment|canary)$"]: spec: {
			selector: matchLabels: app: template.metadata.labels.app
			template: metadata: labels: app: string
			template: spec: containers: [{
				"name":  name
				"image": image
				ports: [{name: "http", containerPort: 8080}]
				env: [{name: "NAME", value: name}]
				resources: requests: {cpu: "100m", memory: "64Mi"}
				readinessProbe: httpGet: {path: "/ready", port: 8080}
			}]
		}
		deployment: metadata: "name": name
		deployment: spec: template: metadata: labels: app: name
		canary: metadata: "name": "\(name)-canary"
		canary: spec: template: metadata: labels: app: "\(name)-canary"
		service: metadata: "name": name
		service: spec: {selector: app: name, ports: [{port: 80, targetPort: 8080}]}
		configMap: metadata: "name": name
		configMap: data: file: image
	}
}
`

// monorepo is a module of packages that share a schema package and hold four objects each.
func monorepo(shared string, packages int) *hashed {
	files := fstest.MapFS{
		"cue.mod/module.cue":      {Data: []byte("module: \"example.com/mono@v0\"\nlanguage: version: \"v0.9.0\"\n")},
		"lib/app/app.cue":         {Data: []byte(shared)},
		"lib/app/app_objects.cue": {Data: []byte(sharedObjects)},
	}
	for i := range packages {
		files[fmt.Sprintf("apps/a%03d/app.cue", i)] = monorepoPackage(i, 1)
	}
	return &hashed{MapFS: files}
}

func monorepoPackage(i, version int) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, `package a%03d

import "example.com/mono/lib/app"

app.#App & {name: "a%03d", image: "registry.example/a:%d", objects: deployment: spec: replicas: 3}
`, i, i, version)}
}

// BenchmarkMonorepo compiles a CUE module of 200 packages: at first, and when one of them has changed.
func BenchmarkMonorepo(b *testing.B) {
	const packages = 200
	for name, shared := range sharedSchemas {
		b.Run(name+"/cold", func(b *testing.B) {
			for b.Loop() {
				compileMonorepo(b, newCompiler(b, nil), monorepo(shared, packages), 4*packages)
			}
		})
		b.Run(name+"/one", func(b *testing.B) {
			c, tree := newCompiler(b, nil), monorepo(shared, packages)
			compileMonorepo(b, c, tree, 4*packages)
			version := 1
			for b.Loop() {
				version++
				tree.MapFS["apps/a077/app.cue"] = monorepoPackage(77, version)
				compileMonorepo(b, c, tree, 4*packages)
			}
		})
	}
}

func compileMonorepo(tb testing.TB, c *schema.Compiler, tree fs.FS, objects int) {
	tb.Helper()
	r, err := c.Compile(tb.Context(), tree)
	if err != nil {
		tb.Fatal(err)
	}
	if len(r.Objects) != objects || !r.Complete {
		tb.Fatalf("%d objects, not %d; first problem: %v", len(r.Objects), objects, r.Problems[:min(1, len(r.Problems))])
	}
}
