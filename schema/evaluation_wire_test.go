package schema

import (
	"context"
	"reflect"
	"testing"
	"testing/fstest"
)

// evaluated gives evaluations of all sorts: documents, an incomplete object, an error, and built objects.
func evaluated(t testing.TB) []*Evaluation {
	t.Helper()
	tree := fstest.MapFS{
		"a/a.cue":              {Data: []byte("package a\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: {name: \"x\", labels: {n: \"1\"}}}\nopen: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: string}\nbad: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: 1 & \"x\"}")},
		"k/kustomization.yaml": {Data: []byte("namePrefix: x-\nresources: [cm.yaml]\nconfigMapGenerator: [{name: a, literals: [b=c]}]\n")},
		"k/cm.yaml":            {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {a: 'yes', n: null}\n")},
	}
	var all []*Evaluation
	keep := func(_ string, e *Evaluation) { all = append(all, e) }
	for _, job := range []*Job{
		{Language: CUE, Root: ".", Dirs: []string{"a"}, Files: []string{"a/a.cue"}},
		{Language: Kustomize, Dirs: []string{"k", "missing"}},
	} {
		if err := NewWorker(Options{}).Evaluate(context.Background(), tree, job, func(string) {}, keep); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestEvaluationCrosses(t *testing.T) {
	for _, e := range evaluated(t) {
		data, err := e.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got Evaluation
		if err := got.UnmarshalBinary(data); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(&got, e) {
			t.Errorf("got %+v, want %+v", got, e)
		}
		for i := range data {
			if err := new(Evaluation).UnmarshalBinary(data[:i]); err == nil {
				t.Fatalf("cut off at %d of %d bytes, it is read all the same", i, len(data))
			}
		}
	}
}

func FuzzEvaluation(f *testing.F) {
	for _, e := range evaluated(f) {
		data, err := e.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var e Evaluation
		if err := e.UnmarshalBinary(data); err != nil {
			return
		}
		again, err := e.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got Evaluation
		if err := got.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%v: got %+v, want %+v", err, got, e)
		}
	})
}
