package schema

import (
	"strings"
	"testing"
)

func explain(t *testing.T, path string, recursive bool) Explanation {
	t.Helper()
	e, err := tryExplain(t, path, recursive)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func tryExplain(t *testing.T, path string, recursive bool) (Explanation, error) {
	t.Helper()
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(path, ".")
	return c.Explain(steps[0], steps[1:], recursive)
}

func TestExplain(t *testing.T) {
	e := explain(t, "deployments.spec.replicas", false)
	if f := e.Field; e.Kind != "Deployment" || e.APIVersion != "apps/v1" || f.Type != "integer" || f.Default != 1.0 || f.Class != "implemented" ||
		f.Allowed != "a whole number from 0 to 2147483647" {
		t.Errorf("got %+v", e)
	}
	f := explain(t, "Deployment.spec.strategy.type", false).Field
	if strings.Join(f.Values, " ") != "RollingUpdate Recreate" || f.Default != "RollingUpdate" || f.Type != "string" {
		t.Errorf("got %+v", f)
	}
	f = explain(t, "pod.spec.containers", false).Field
	if f.Type != "[]Container" || !f.Required || f.UniqueBy != "name" || len(f.Fields) == 0 {
		t.Errorf("got %+v", f)
	}
	for _, m := range f.Fields {
		if len(m.Fields) > 0 {
			t.Errorf("%s has members, though nobody asked for them", m.Name)
		}
	}
	f = explain(t, "pod.metadata.labels.app", false).Field
	if f.Name != "app" || f.Type != "string" {
		t.Errorf("got %+v", f)
	}
}

func TestExplainErrors(t *testing.T) {
	for path, want := range map[string]string{
		"Deploymnt":                      "did you mean Deployment?",
		"whatever":                       `"headway schema" lists the kinds`,
		"deployment.spec.replica":        `Deployment.spec has no field "replica": did you mean replicas?`,
		"deployment.spec.replicas.a":     "Deployment.spec.replicas has no fields: it is integer",
		"namespace.spec.zzzzzzzzzzzzzzz": "it has finalizers",
	} {
		_, err := tryExplain(t, path, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}

// TestExplainKnowsEveryField walks all kinds: whatever the definitions hold can be asked for by the path that leads there.
func TestExplainKnowsEveryField(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range c.Kinds() {
		e, err := c.Explain(strings.ToLower(k.Kind), nil, true)
		if err != nil {
			t.Fatal(err)
		}
		if e.Field.Class != k.Class || (k.Class != "implemented") != (e.Field.Reason != "") {
			t.Errorf("%s is %s in the list, but %+v by itself", k.Kind, k.Class, e.Field)
		}
		var walk func(path []string, f FieldDoc)
		walk = func(path []string, f FieldDoc) {
			if f.Type == "" || f.Class != "implemented" && f.Reason == "" {
				t.Errorf("%s %v: %+v", k.Kind, path, f)
			}
			got, err := c.Explain(k.Kind, path, false)
			if err != nil {
				t.Errorf("%s %v: %v", k.Kind, path, err)
			} else if got.Field.Type != f.Type {
				t.Errorf("%s %v is %s, and %s inside", k.Kind, path, got.Field.Type, f.Type)
			}
			for _, m := range f.Fields {
				walk(append(path[:len(path):len(path)], m.Name), m)
			}
		}
		walk(nil, e.Field)
	}
}
