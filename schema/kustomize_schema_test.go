package schema

import (
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
)

// TestKustomizeSchemaOfItsOwn: what a kustomization merges by is no other's, though kustomize keeps it for the whole process.
func TestKustomizeSchemaOfItsOwn(t *testing.T) {
	service := func(ports string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {a: b}, ports: " + ports + "}}")}
	}
	tree := func(openapi, schema string) fstest.MapFS {
		return fstest.MapFS{
			"kustomization.yaml": {Data: []byte("resources: [web.yaml]\npatches: [{path: patch.yaml}]\n" + openapi)},
			"schema.json":        {Data: []byte(schema)},
			"web.yaml":           service("[{port: 80}, {port: 8080, name: more}]"),
			"patch.yaml":         service("[{port: 80, name: http}]"),
		}
	}
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ports := func(tree fstest.MapFS) int {
		t.Helper()
		r, err := c.Compile(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range r.Objects {
			if s, ok := o.Value.(*corev1.Service); ok {
				return len(s.Spec.Ports)
			}
		}
		return 0
	}
	for _, step := range []struct {
		openapi, schema string
		ports           int
	}{
		{"", "", 2}, // merged by port
		{"openapi: {path: schema.json}", `{"definitions": {}}`, 1}, // a list of what is unknown is replaced
		{"# after it", "", 2},
		{"openapi: {path: schema.json}", `["no", "schema"]`, 0},
		{"# after that", "", 2},
	} {
		if got := ports(tree(step.openapi, step.schema)); got != step.ports {
			t.Errorf("with %q and the schema %s there are %d ports, want %d", step.openapi, step.schema, got, step.ports)
		}
	}
}
