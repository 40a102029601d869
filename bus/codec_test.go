package bus

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := api.Event{
			Kind:   rapid.String().Draw(t, "kind"),
			Reason: strings.Repeat(rapid.StringN(1, 8, -1).Draw(t, "reason"), rapid.IntRange(0, 20_000).Draw(t, "times")),
		}
		header, data, err := encode(want)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if compressed := header.Get(encodingHeader) != ""; compressed != (len(plain) > compressAbove) {
			t.Fatalf("%d bytes: compressed is %t", len(plain), compressed)
		}
		var got, direct api.Event
		if err := decode(header, data, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(plain, &direct); err != nil {
			t.Fatal(err)
		}
		if got != direct {
			t.Fatal("it came back otherwise")
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	var into api.Event
	for name, m := range map[string]nats.Msg{
		"not JSON":          {Data: []byte("{")},
		"not compressed":    {Data: []byte("\xff\xff\xff\xff\xff"), Header: nats.Header{encodingHeader: {"s2"}}},
		"too much":          {Data: []byte("\xff\xff\xff\xff\x0f"), Header: nats.Header{encodingHeader: {"s2"}}},
		"of another origin": {Data: []byte("{}"), Header: nats.Header{encodingHeader: {"rot13"}}},
	} {
		if err := decode(m.Header, m.Data, &into); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("", []byte(`{"node":"n1"}`))
	header, data, err := encode(api.NodeStatus{Node: strings.Repeat("n", compressAbove)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(header.Get(encodingHeader), data)
	f.Fuzz(func(t *testing.T, encoding string, data []byte) {
		var status api.NodeStatus
		if decode(nats.Header{encodingHeader: {encoding}}, data, &status) != nil {
			return
		}
		if _, _, err := encode(status); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// TestSplit keeps a frame's content and order over any cut, within the size of a message.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := func(name string) []byte {
			return bytes.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(t, name))}, rapid.IntRange(0, 3*streamPart).Draw(t, "length of "+name))
		}
		want := api.StreamFrame{
			Stdin: content("stdin"), Stdout: content("stdout"), Stderr: content("stderr"),
			StdinEOF: rapid.Bool().Draw(t, "eof"), Error: rapid.String().Draw(t, "error"),
		}
		if rapid.Bool().Draw(t, "exited") {
			code := rapid.Int().Draw(t, "code")
			want.ExitCode = &code
		}
		got := api.StreamFrame{Stdin: []byte{}, Stdout: []byte{}, Stderr: []byte{}}
		parts := split(want)
		for i, part := range parts {
			if len(part.Stdin)+len(part.Stdout)+len(part.Stderr) > streamPart {
				t.Fatalf("part %d is too large", i)
			}
			if last := i == len(parts)-1; !last && (part.StdinEOF || part.ExitCode != nil || part.Error != "") {
				t.Fatalf("part %d of %d ends the stream", i, len(parts))
			}
			got.Stdin = append(got.Stdin, part.Stdin...)
			got.Stdout = append(got.Stdout, part.Stdout...)
			got.Stderr = append(got.Stderr, part.Stderr...)
			got.StdinEOF, got.ExitCode, got.Error = part.StdinEOF, part.ExitCode, part.Error
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("the parts are not the frame")
		}
	})
}

// TestReconnectDelay stays within its bounds for any number of attempts.
func TestReconnectDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if d := reconnectDelay(rapid.IntRange(0, 1<<30).Draw(t, "attempts")); d < reconnectFirst/2 || d > reconnectMost {
			t.Fatalf("the delay is %s", d)
		}
	})
}
