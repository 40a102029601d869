package remote

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"/srv/fleet.git":                        "/srv/fleet.git",
		"/srv/../srv/fleet.git/":                "/srv/fleet.git",
		"file:///srv/fleet.git":                 "/srv/fleet.git",
		"file://localhost/srv/fleet.git":        "/srv/fleet.git",
		"https://git.example/fleet.git":         "https://git.example/fleet.git",
		"https://u:p@git.example:8443/a/b":      "https://git.example:8443/a/b",
		"https://token@git.example/a":           "https://git.example/a",
		"https://git.example/a?token=x":         "https://git.example/a",
		"ssh://git@git.example/a/b.git":         "ssh://git@git.example/a/b.git",
		"ssh://git:p@git.example:2222/a/b.git":  "ssh://git@git.example:2222/a/b.git",
		"git@git.example:a/b.git":               "ssh://git@git.example/a/b.git",
		"http://127.0.0.1:3000/a":               "http://127.0.0.1:3000/a",
		"https://[2001:db8::1]:8443/a":          "https://[2001:db8::1]:8443/a",
		"https://u:p%40ss@git.example/a%20b/c":  "https://git.example/a b/c",
		"https://git.example/group/project.git": "https://git.example/group/project.git",
	} {
		u, err := Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if u.String() != want {
			t.Errorf("%s is shown as %s, want %s", in, u, want)
		}
		if path, ok := u.Local(); ok != filepath.IsAbs(want) || ok && path != want {
			t.Errorf("%s: local %t, %q", in, ok, path)
		}
	}
	for _, in := range []string{"", "ftp://git.example/a", "git://git.example/a", "https://", "https://git.example", "https://git.example/", "file://git.example/a", "https://u:secret@[::1/a"} {
		u, err := Parse(in)
		if err == nil {
			t.Errorf("%q was taken as %s", in, u)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the secret: %v", in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("https://user:s3cret@git.example/a")
	f.Add("s3cret@host:path")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		if err != nil {
			return
		}
		if path, ok := u.Local(); ok && !filepath.IsAbs(path) {
			t.Errorf("%q has the relative path %q", s, path)
		}
		if u.endpoint != nil && u.endpoint.Protocol != "ssh" && (u.endpoint.User+u.endpoint.Password) != "" && strings.Contains(u.String(), "@") && !strings.Contains(u.endpoint.Host+u.endpoint.Path, "@") {
			t.Errorf("%q is shown as %s", s, u)
		}
	})
}

func TestAuthIsNotShown(t *testing.T) {
	for _, a := range []Auth{
		{Username: "ada", Password: "s3cret"},
		{Password: "s3cret"},
		{KeyFile: "/k", Passphrase: "s3cret"},
	} {
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "auth", a)
		shown := fmt.Sprintf("%v %+v %#v %s", a, a, a, []Auth{a}) + log.String()
		if strings.Contains(shown, "s3cret") {
			t.Errorf("the secret is shown: %s", shown)
		}
	}
}

func TestPasswordsAreNotSentInTheClear(t *testing.T) {
	for in, ok := range map[string]bool{
		"http://git.example/a":         true,
		"http://ada:p@git.example/a":   false,
		"http://ada:p@127.0.0.1:1/a":   true,
		"http://ada:p@[::1]:1/a":       true,
		"http://ada:p@localhost/a":     true,
		"https://ada:p@git.example/a":  true,
		"http://ada:p@127.0.0.1.evil/": false,
	} {
		u, err := Parse(in)
		if err != nil {
			if ok {
				t.Errorf("%s: %v", in, err)
			}
			continue
		}
		c, err := Dial(u, Auth{})
		if (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
		if err == nil {
			if c.endpoint.Password != "" || c.endpoint.User != "" {
				t.Errorf("%s: the endpoint keeps the secret", in)
			}
			c.Close()
		}
	}
}

func TestUnreadableKeys(t *testing.T) {
	u, err := Parse("git@git.example:a")
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]Auth{
		"no key":         {KeyFile: filepath.Join(t.TempDir(), "id")},
		"no known hosts": {Password: "x", KnownHosts: filepath.Join(t.TempDir(), "known_hosts")},
	} {
		if _, err := Dial(u, a); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Dial(URL{local: "/srv"}, Auth{}); err == nil {
		t.Error("a path was dialled")
	}
	if errors.Is(classify(errors.New("x")), ErrDenied) {
		t.Error("any error is taken for a refusal")
	}
}
