package node

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestSubPathOfMount(t *testing.T) {
	env := &environment{values: map[string]string{"NAME": "web-1", "UP": "..", "EMPTY": ""}}
	for _, c := range []struct{ path, expr, want, err string }{
		{"", "", "", ""},
		{"a/b", "", "a/b", ""},
		{"./a//b/", "", "a/b", ""},
		{".", "", "", ""},
		{"..a", "", "..a", ""},
		{"", "logs/$(NAME)", "logs/web-1", ""},
		{"", "$(EMPTY)", "", ""},
		{"", "$$(NAME)", "$(NAME)", ""},
		{"../a", "", "", "without '..'"},
		{"a/../b", "", "", "without '..'"},
		{"/a", "", "", "relative path"},
		{"", "a/$(UP)/b", "", "without '..'"},
		{"", "$(NONE)/$(NONE2)", "", "refers to NONE, NONE2, which is not set"},
	} {
		got, err := subPath(corev1.VolumeMount{SubPath: c.path, SubPathExpr: c.expr}, env)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q, %q: got %q, %v; want %q, %q", c.path, c.expr, got, err, c.want, c.err)
		}
	}
}
