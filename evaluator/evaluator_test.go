package evaluator_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"headway.dev/headway/api"
	"headway.dev/headway/evaluator"
	"headway.dev/headway/schema"
)

// faultVariable names what the child does when it begins with a directory called bad.
const faultVariable = "HEADWAY_EVALUATOR_TEST"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "evaluate" {
		out := &faultyWriter{Writer: os.Stdout, fault: os.Getenv(faultVariable)}
		os.Stdout = os.Stderr
		if err := evaluator.Serve(context.Background(), os.Stdin, out, func() { os.Exit(0) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// A faultyWriter does something wrong in the place of telling that the evaluation of bad begins.
type faultyWriter struct {
	io.Writer
	fault string
}

func (w *faultyWriter) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(b, binary.BigEndian.AppendUint32([]byte("b"), 3)) || string(b[5:]) != "bad" {
		return w.Writer.Write(b)
	}
	n, err := w.Writer.Write(b)
	switch w.fault {
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "panic":
		go panic("a library broke")
		select {}
	case "overflow":
		fmt.Fprintln(os.Stderr, overflow(1))
	case "garbage":
		_, _ = w.Writer.Write([]byte("warning: this is not a frame at all"))
		select {}
	case "huge":
		_, _ = w.Writer.Write([]byte("y\xff\xff\xff\xff"))
		select {}
	case "wrong":
		_, _ = w.Writer.Write([]byte("y\x00\x00\x00\x04abcd"))
		select {}
	case "hang":
		select {}
	}
	return n, err
}

// overflow calls itself until the stack is full.
func overflow(n int) int {
	if n == 0 {
		return 0
	}
	return overflow(n+1) + 1
}

func newEvaluator(t testing.TB, o evaluator.Options) *evaluator.Evaluator {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Command = []string{self, "evaluate"}
	e, err := evaluator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func compile(t testing.TB, e schema.Evaluator, tree fs.FS) *schema.Result {
	t.Helper()
	c, err := schema.New(schema.Options{Evaluator: e, Tags: map[string]string{"env": "prod"}})
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Compile(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func namespace(name string) *fstest.MapFile {
	return file(fmt.Sprintf("package %[1]s\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: %[1]q}\n", name))
}

// sound is a tree that holds something of everything.
func sound() fstest.MapFS {
	return fstest.MapFS{
		"a/a.cue":                   namespace("a"),
		"b/b.cue":                   file("package b\nimport \"headway.invalid/tree/b/lib\"\nenv: string @tag(env)\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: lib.name + env}\n"),
		"b/lib/lib.cue":             file("package lib\nname: \"b\"\n"),
		"c/c.cue":                   file("package c\nx: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: 1 & 2}\ny: {apiVersion: \"v1\", kind: \"Namespace\", metadata: name: string}\n"),
		"d/d.cue":                   file("package d\nx: {\n"),
		"k/kustomization.yaml":      file("namePrefix: k-\nresources: [cm.yaml, ../base]\nconfigMapGenerator: [{name: made, files: [motd.txt]}]\n"),
		"k/cm.yaml":                 file("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm\n  nam: typo\n"),
		"k/motd.txt":                file("hello\n"),
		"base/Kustomization":        file("resources: [ns.json]\n"),
		"base/ns.json":              file(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "base"}}`),
		"broken/kustomization.yaml": file("resources: [none.yaml, https://example.com/x]\n"),
		"plain/cm.yaml":             file("{apiVersion: v1, kind: ConfigMap, metadata: {name: plain}}\n"),
	}
}

// A keyedTree knows keys of contents, as Git does.
type keyedTree struct{ fstest.MapFS }

func (k keyedTree) Hash(name string) (string, bool) {
	f, ok := k.MapFS[name]
	if !ok {
		return "", false
	}
	return "key of " + string(f.Data), true
}

// TestSameAsInProcess holds that it makes no difference where a tree is evaluated.
func TestSameAsInProcess(t *testing.T) {
	want := compile(t, nil, sound())
	if len(want.Objects) < 5 || len(want.Problems) < 5 {
		t.Fatalf("the tree holds too little: %v %v", want.Objects, want.Problems)
	}
	e := newEvaluator(t, evaluator.Options{})
	for name, tree := range map[string]fs.FS{"unkeyed": sound(), "keyed": keyedTree{sound()}, "keyed again": keyedTree{sound()}} {
		if got := compile(t, e, tree); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%v\nwant\n%v", name, got, want)
		}
	}
}

// wantOnly checks that one place alone is in error, with what is said of it, and that the rest of the tree is there.
func wantOnly(t *testing.T, r *schema.Result, dir, message string) {
	t.Helper()
	var at []api.Problem
	for _, p := range r.Problems {
		if !p.Warning {
			at = append(at, p)
		}
	}
	if len(at) != 1 || at[0].Source.File != dir || !strings.Contains(at[0].Message, message) {
		t.Errorf("problems are %v, want one at %s: %s", at, dir, message)
	}
	names := map[string]bool{}
	for _, o := range r.Objects {
		names[o.Ref.Name] = true
	}
	for _, name := range []string{"aaa", "zzz", "plain", "k"} {
		if !names[name] {
			t.Errorf("object %s is missing: there are %v", name, names)
		}
	}
}

// around puts something in a tree with sound packages on both sides of it, in the order of evaluation.
func around(files fstest.MapFS) fstest.MapFS {
	tree := fstest.MapFS{
		"aaa/x.cue": namespace("aaa"), "zzz/x.cue": namespace("zzz"),
		"kzz/kustomization.yaml": file("resources: [x.yaml]"),
		"kzz/x.yaml":             file("{apiVersion: v1, kind: ConfigMap, metadata: {name: k}}\n"),
		"plain/cm.yaml":          file("{apiVersion: v1, kind: ConfigMap, metadata: {name: plain}}\n"),
	}
	for name, f := range files {
		tree[name] = f
	}
	return tree
}

// TestFaults breaks the child in every way while it is at one package.
func TestFaults(t *testing.T) {
	for fault, message := range map[string]string{
		"die":      "the process that did has ended (signal: killed)",
		"panic":    "it breaks the program: panic: a library broke",
		"overflow": "it breaks the program: runtime: goroutine stack exceeds",
		"garbage":  "has sent what makes no sense",
		"huge":     "has sent what makes no sense",
		"wrong":    "has sent what makes no sense",
	} {
		t.Run(fault, func(t *testing.T) {
			e := newEvaluator(t, evaluator.Options{Env: []string{faultVariable + "=" + fault}})
			wantOnly(t, compile(t, e, around(fstest.MapFS{"bad/x.cue": namespace("bad")})), "bad", message)
		})
	}
	t.Run("hang", func(t *testing.T) {
		e := newEvaluator(t, evaluator.Options{Time: 5 * time.Second, Env: []string{faultVariable + "=hang"}})
		wantOnly(t, compile(t, e, around(fstest.MapFS{"bad/x.cue": namespace("bad")})), "bad", "takes more than 5s to evaluate, which is the limit")
	})
}
