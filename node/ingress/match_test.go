package ingress

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// to is a backend by the name of its service; empty is none.
func to(service string) *api.IngressBackend {
	if service == "" {
		return nil
	}
	return &api.IngressBackend{Service: api.Ref{Kind: "Service", Namespace: "shop", Name: service}, Port: 80}
}

func exact(path, service string) api.IngressPath {
	return api.IngressPath{Path: path, Exact: true, IngressBackend: *to(service)}
}

func prefix(path, service string) api.IngressPath {
	return api.IngressPath{Path: path, IngressBackend: *to(service)}
}

func matched(m *matcher, host, path string) string {
	if b := m.match(hostname(host), path); b != nil {
		return b.Service.Name
	}
	return ""
}

// TestPaths holds the table of examples in Kubernetes' documentation of Ingress, prefixes without the slash at their end.
func TestPaths(t *testing.T) {
	for _, example := range []struct {
		paths         []api.IngressPath
		request, want string
	}{
		{[]api.IngressPath{prefix("/", "a")}, "/anything/at/all", "a"},
		{[]api.IngressPath{exact("/foo", "a")}, "/foo", "a"},
		{[]api.IngressPath{exact("/foo", "a")}, "/bar", ""},
		{[]api.IngressPath{exact("/foo", "a")}, "/foo/", ""},
		{[]api.IngressPath{exact("/foo/", "a")}, "/foo", ""},
		{[]api.IngressPath{prefix("/foo", "a")}, "/foo", "a"},
		{[]api.IngressPath{prefix("/foo", "a")}, "/foo/", "a"},
		{[]api.IngressPath{prefix("/aaa/bb", "a")}, "/aaa/bbb", ""},
		{[]api.IngressPath{prefix("/aaa/bbb", "a")}, "/aaa/bbb", "a"},
		{[]api.IngressPath{prefix("/aaa/bbb", "a")}, "/aaa/bbb/", "a"},
		{[]api.IngressPath{prefix("/aaa/bbb", "a")}, "/aaa/bbb/ccc", "a"},
		{[]api.IngressPath{prefix("/aaa/bbb", "a")}, "/aaa/bbbxyz", ""},
		{[]api.IngressPath{prefix("/aaa", "b"), prefix("/", "a")}, "/aaa/ccc", "b"},
		{[]api.IngressPath{prefix("/aaa", "b"), prefix("/", "a")}, "/ccc", "a"},
		{[]api.IngressPath{prefix("/aaa", "b")}, "/ccc", ""},
		{[]api.IngressPath{exact("/foo", "b"), prefix("/foo", "a")}, "/foo", "b"},
		{[]api.IngressPath{prefix("/aaa/bbb", "b"), prefix("/aaa", "a")}, "/aaa/bbb/c", "b"},
		{[]api.IngressPath{prefix("/aaa/bbb", "b"), prefix("/aaa", "a")}, "/aaa//bbb", "a"},
		{[]api.IngressPath{prefix("/", "a")}, "*", "a"},
		{[]api.IngressPath{prefix("/", "a")}, "", "a"},
	} {
		m := newMatcher(api.IngressRules{Hosts: []api.IngressHost{{Paths: example.paths}}})
		if got := matched(m, "any.example", example.request); got != example.want {
			t.Errorf("%v: %s goes to %q, want %q", example.paths, example.request, got, example.want)
		}
	}
}

// TestHosts holds the documentation's examples of wildcards, and what decides between hosts.
func TestHosts(t *testing.T) {
	rules := api.IngressRules{
		Default: to("rest"),
		Hosts: []api.IngressHost{
			{Host: "", Paths: []api.IngressPath{prefix("/all", "all")}},
			{Host: "*.foo.com", Paths: []api.IngressPath{prefix("/", "wild")}},
			{Host: "bar.foo.com", Paths: []api.IngressPath{prefix("/own", "own")}, Default: to("own-rest")},
			{Host: "lone.foo.com", Paths: []api.IngressPath{prefix("/own", "lone")}},
		},
	}
	m := newMatcher(rules)
	for _, example := range []struct{ host, path, want string }{
		{"baz.foo.com", "/", "wild"},
		{"BAZ.foo.com:8080", "/", "wild"},
		{"baz.foo.com.", "/", "wild"},
		{"baz.bar.foo.com", "/all", "all"}, // the star stands for one label
		{"foo.com", "/all", "all"},
		{"bar.foo.com", "/own/x", "own"},
		{"bar.foo.com", "/all", "own-rest"}, // the host decides first
		{"lone.foo.com", "/all", "rest"},
		{"*.foo.com", "/", "rest"},
		{"", "/all", "all"},
		{"[::1]:80", "/all", "all"},
		{"other", "/", "rest"},
	} {
		if got := matched(m, example.host, example.path); got != example.want {
			t.Errorf("%s%s goes to %q, want %q", example.host, example.path, got, example.want)
		}
	}
}

// elements are those of a path as Kubernetes counts them: a slash at the end adds none.
func elements(path string) []string {
	return strings.Split(strings.TrimRight(path, "/"), "/")
}

// plainly matches by the words of the documentation, one path after another.
func plainly(paths []api.IngressPath, request string) string {
	best, longest := "", -1
	for _, p := range paths {
		if p.Exact && p.Path == request {
			return p.Service.Name
		}
		own, asked := elements(p.Path), elements(request)
		if !p.Exact && len(own) <= len(asked) && slices.Equal(own, asked[:len(own)]) && len(own) > longest {
			best, longest = p.Service.Name, len(own)
		}
	}
	return best
}

// TestMatchesAsWritten compares the matching with the documentation's words.
func TestMatchesAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.StringMatching(`(/[ab]{0,2}){1,4}`)
		var paths []api.IngressPath
		for i, written := range rapid.SliceOfN(path, 0, 6).Draw(t, "paths") {
			p := prefix(written, string(rune('A'+i)))
			if p.Exact = rapid.Bool().Draw(t, "exact"); !p.Exact {
				if p.Path = strings.TrimRight(p.Path, "/"); p.Path == "" {
					p.Path = "/"
				}
			}
			same := func(o api.IngressPath) bool { return o.Path == p.Path && o.Exact == p.Exact }
			if !slices.ContainsFunc(paths, same) {
				paths = append(paths, p)
			}
		}
		m := newMatcher(api.IngressRules{Hosts: []api.IngressHost{{Host: "a.example", Paths: paths}}})
		request := path.Draw(t, "request")
		if got, want := matched(m, "a.example", request), plainly(paths, request); got != want {
			t.Errorf("%v: %s goes to %q, want %q", paths, request, got, want)
		}
	})
}

// FuzzMatch looks for hosts and paths that no rule could have let through.
func FuzzMatch(f *testing.F) {
	f.Add("a.example", "/one/two")
	f.Add("*.example:80", "//")
	f.Add(".", "*")
	rules := api.IngressRules{Hosts: []api.IngressHost{
		{Host: "*.example", Paths: []api.IngressPath{exact("/one/", "exact"), prefix("/one", "prefix")}},
	}}
	m := newMatcher(rules)
	f.Fuzz(func(t *testing.T, host, path string) {
		got := matched(m, host, path)
		if got == "" {
			return
		}
		if name := hostname(host); !strings.HasSuffix(name, ".example") || strings.Count(name, ".") != 1 || strings.HasPrefix(name, "*") {
			t.Errorf("host %q goes to %s", host, got)
		}
		if want := plainly(rules.Hosts[0].Paths, path); got != want {
			t.Errorf("path %q goes to %s, want %q", path, got, want)
		}
	})
}
