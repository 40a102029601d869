package evaluator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"

	"headway.dev/headway/schema"
)

func FuzzReceive(f *testing.F) {
	var sound bytes.Buffer
	p := newPipe(nil, &sound)
	for _, s := range []frame{frameJob, frameDone} {
		if err := p.send(s, []byte("payload")); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(sound.Bytes())
	f.Add([]byte("y\xff\xff\xff\xff"))
	f.Add([]byte("y\x0f\xff\xff\xff but little follows"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newPipe(bytes.NewReader(data), nil)
		var again bytes.Buffer
		out := newPipe(nil, &again)
		for {
			f, payload, err := in.receive()
			if err != nil {
				if !bytes.HasPrefix(data, again.Bytes()) {
					t.Fatalf("read %q of %q", again.Bytes(), data)
				}
				return
			}
			if err := out.send(f, payload); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzServe gives a child anything for input: it ends, and does not panic.
func FuzzServe(f *testing.F) {
	var sound bytes.Buffer
	p := newPipe(nil, &sound)
	for _, job := range []string{
		`{"job":{"language":"CUE","root":".","dirs":["a"],"files":["a/x.cue"]},"keys":["k"]}`,
		`{"job":{"language":"kustomize","dirs":["a"]}}`,
		`{"job":{"language":"other","dirs":["a"]}}`,
	} {
		if err := errors.Join(p.send(frameJob, []byte(job)), p.sendJSON(frameAnswer, answer{Error: "no"}), p.send(frameContent, []byte("package a"))); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(sound.Bytes())
	f.Add(sound.Bytes()[:200])
	// Once waited for ever for a second answer, when the first had not come.
	f.Add([]byte("j\x00\x00\x00\x46{\"job\":{\"language\":\"CUE\",\"root\":\".\",\"dirs\":[\"a\"],\"files\":[\"a/x.cue\"]}}"))
	f.Add([]byte("j\x00\x00\x00\x02{}"))
	f.Add([]byte("j\x00\x00\x00\x0c{\"job\":null}"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = Serve(context.Background(), bytes.NewReader(data), io.Discard, func() {})
	})
}

// TestReply answers questions of every sort as the tree itself would.
func TestReply(t *testing.T) {
	tree := fstest.MapFS{"a/x": {Data: []byte("content")}, "link": {Data: []byte("a"), Mode: fs.ModeSymlink}}
	toChild, toParent := &bytes.Buffer{}, &bytes.Buffer{}
	remote := newRemoteTree(newPipe(nil, toParent), nil, &contents{}, work{Job: &schema.Job{}})
	remote.receive = func() (frame, []byte, error) {
		_, payload, err := newPipe(toParent, nil).receive()
		if err != nil {
			return 0, nil, err
		}
		talk := talk{process: &process{pipe: newPipe(nil, toChild)}, tree: tree, looked: map[string]bool{}}
		if err := talk.answer(payload); err != nil {
			return 0, nil, err
		}
		return newPipe(toChild, nil).receive()
	}
	for _, name := range []string{"a", "a/x", "none", "link", "."} {
		want, wantErr := fs.Stat(tree, name)
		got, err := fs.Stat(remote, name)
		if (err == nil) != (wantErr == nil) || errors.Is(err, fs.ErrNotExist) != errors.Is(wantErr, fs.ErrNotExist) {
			t.Errorf("stat %s: %v, want %v", name, err, wantErr)
		}
		if err == nil && (got.Size() != want.Size() || got.Mode() != want.Mode() || got.Name() != want.Name()) {
			t.Errorf("stat %s: %v, want %v", name, got, want)
		}
	}
	if data, err := remote.ReadFile("a/x"); string(data) != "content" {
		t.Errorf("read %q, %v", data, err)
	}
	if info, err := remote.Lstat("link"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("lstat of a link: %v, %v", info, err)
	}
}
