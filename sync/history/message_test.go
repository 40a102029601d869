package history

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseMessage(t *testing.T) {
	hash := strings.Repeat("ab", 20)
	for name, c := range map[string]struct {
		in   string
		want Message
	}{
		"empty":          {"", Message{}},
		"subject":        {"Scale web\n", Message{Subject: "Scale web"}},
		"folded subject": {"Scale\nweb\n\nBody\n", Message{Subject: "Scale web", Body: "Body"}},
		"trailers": {"Scale web\n\nMore load.\n\nSigned-off-by: Ada <ada@example.org>\nHeadway-Approve: prune\n", Message{
			Subject: "Scale web", Body: "More load.",
			Trailers: []Trailer{{"Signed-off-by", "Ada <ada@example.org>"}, {"Headway-Approve", "prune"}},
		}},
		"continued":           {"S\n\nKey: one\n  two\n", Message{Subject: "S", Trailers: []Trailer{{"Key", "one two"}}}},
		"a subject is none":   {"fix: the thing\n", Message{Subject: "fix: the thing"}},
		"prose is none":       {"S\n\nNote: this\nis prose\n", Message{Subject: "S", Body: "Note: this\nis prose"}},
		"only the last":       {"S\n\nA: 1\n\nB: 2\n", Message{Subject: "S", Body: "A: 1", Trailers: []Trailer{{"B", "2"}}}},
		"windows line breaks": {"S\r\n\r\nB: 2\r\n", Message{Subject: "S", Trailers: []Trailer{{"B", "2"}}}},
		"revert": {"Revert \"x\"\n\nThis reverts commit " + hash + ".\n", Message{
			Subject: `Revert "x"`, Body: "This reverts commit " + hash + ".",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ParseMessage(c.in); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v\nwant %#v", got, c.want)
			}
		})
	}
	if got := ParseMessage("x\n\nThis reverts commit " + hash + ".").Reverts(); got != hash {
		t.Errorf("it reverts %q", got)
	}
	for _, s := range []string{"x\n\nThis reverts commit 123.", "This reverts commit " + hash, "x\n\nI think This reverts commit " + hash} {
		if got := ParseMessage(s).Reverts(); got != "" {
			t.Errorf("%q reverts %q", s, got)
		}
	}
	m := ParseMessage("S\n\nheadway-approve: a\nX: y\nHeadway-Approve: b\n")
	if got := m.Values("Headway-Approve"); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("values %q", got)
	}
}

func TestMessageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zA-Z0-9 ]{0,20}[a-z]`)
		subject := strings.Join(strings.Fields(word.Draw(t, "subject")), " ")
		want := Message{Subject: subject, Body: "A body."}
		in := subject + "\n\nA body.\n\n"
		for range rapid.IntRange(1, 4).Draw(t, "trailers") {
			tr := Trailer{
				rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9-]{0,10}`).Draw(t, "key"),
				strings.TrimSpace(rapid.StringMatching(`[!-~ ]{0,20}`).Draw(t, "value")),
			}
			want.Trailers = append(want.Trailers, tr)
			in += tr.String() + "\n"
		}
		if got := ParseMessage(in); !reflect.DeepEqual(got, want) {
			t.Errorf("%q\ngot %#v\nwant %#v", in, got, want)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add("Subject\n\nBody\n\nKey: value\n more\n")
	f.Add("\n\n : \n\n\t\n")
	f.Fuzz(func(t *testing.T, s string) {
		m := ParseMessage(s)
		if strings.ContainsAny(m.Subject, "\n") {
			t.Errorf("the subject %q is not one line", m.Subject)
		}
		for _, tr := range m.Trailers {
			if tr.Key == "" || strings.Contains(tr.Value, "\n") {
				t.Errorf("trailer %#v", tr)
			}
		}
		m.Reverts()
	})
}
