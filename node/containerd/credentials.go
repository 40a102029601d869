package containerd

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
)

// A credential is what is shown to registries of one name. It is never printed.
type credential struct {
	pattern    string // host, or host/path; a label of the host may be a glob
	user       string
	secret     string // a password; with no user, an identity token
	repository string // of the image that is pulled
	own        bool   // a pod's, not the node's
}

// String shows nothing of the secret.
func (c credential) String() string { return "credential for " + c.pattern }

// GoString shows nothing of the secret.
func (c credential) GoString() string { return c.String() }

// authEntry is how docker writes one.
type authEntry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
}

// errCredentials stands for the error of reading them, whose text might show some.
var errCredentials = errors.New("it is not JSON as docker writes it: {\"auths\": {\"registry.example\": {\"username\": ..., \"password\": ...}}}")

// parseConfig reads docker's config.json, and parseLegacy the older .dockercfg, which is its table alone.
func parseConfig(data []byte) ([]credential, error) {
	var config struct {
		Auths map[string]authEntry `json:"auths"`
	}
	if json.Unmarshal(data, &config) != nil {
		return nil, errCredentials
	}
	return readAuths(config.Auths)
}

func parseLegacy(data []byte) ([]credential, error) {
	var auths map[string]authEntry
	if json.Unmarshal(data, &auths) != nil {
		return nil, errCredentials
	}
	return readAuths(auths)
}

func readAuths(auths map[string]authEntry) ([]credential, error) {
	all := make([]credential, 0, len(auths))
	for name, e := range auths {
		c := credential{pattern: cleanPattern(name), user: e.Username, secret: e.Password}
		switch {
		case e.IdentityToken != "":
			c.user, c.secret = "", e.IdentityToken
		case e.Auth != "":
			plain, err := base64.StdEncoding.DecodeString(e.Auth)
			user, password, ok := strings.Cut(string(plain), ":")
			if err != nil || !ok {
				return nil, fmt.Errorf("the \"auth\" of %s is not the base64 of user:password", name)
			}
			c.user, c.secret = user, strings.TrimRight(password, "\x00")
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b credential) int { return cmp.Compare(a.pattern, b.pattern) })
	mostExactFirst(all)
	return all, nil
}

// mostExactFirst orders credentials as Kubernetes tries them: hosts by name before those by a glob, long paths before short
// ones, and what is left as it was.
func mostExactFirst(all []credential) {
	slices.SortStableFunc(all, func(a, b credential) int {
		return cmp.Or(cmp.Compare(globs(a), globs(b)), cmp.Compare(len(b.pattern), len(a.pattern)))
	})
}

// globs is how many characters of the credential's host stand for others.
func globs(c credential) int {
	host, _, _ := strings.Cut(c.pattern, "/")
	return strings.Count(host, "*") + strings.Count(host, "?") + strings.Count(host, "[")
}

// cleanPattern leaves of the names under which credentials are kept what is compared.
func cleanPattern(name string) string {
	_, rest, ok := strings.Cut(name, "://")
	if !ok {
		rest = name
	}
	rest = strings.TrimSuffix(rest, "/")
	for _, version := range []string{"/v1", "/v2"} {
		rest = strings.TrimSuffix(rest, version)
	}
	return rest
}

// secretCredentials reads image pull secrets. Errors name secrets and keys only.
func secretCredentials(secrets []node.PullSecret) ([]credential, error) {
	var all []credential
	for _, s := range secrets {
		data := s.Data.Reveal()
		for _, form := range []struct {
			key   string
			parse func([]byte) ([]credential, error)
		}{{corev1.DockerConfigJsonKey, parseConfig}, {corev1.DockerConfigKey, parseLegacy}} {
			content, ok := data[form.key]
			if !ok {
				continue
			}
			found, err := form.parse(content)
			if err != nil {
				return nil, fmt.Errorf("image pull secret %s: %s: %w", s.Name, form.key, err)
			}
			all = append(all, found...)
		}
	}
	for i := range all {
		all[i].own = true
	}
	mostExactFirst(all)
	return all, nil
}

// fileCredentials reads the node's own; a file that is not there holds none.
func fileCredentials(file string) ([]credential, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("the node's credentials for registries: %w", err)
	}
	all, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("the node's credentials for registries: %s: %w", file, err)
	}
	return all, nil
}

// forRepository keeps the credentials that may be shown for an image.
func forRepository(all []credential, name string) []credential {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil
	}
	var kept []credential
	for _, c := range all {
		c.repository = reference.Path(named)
		_, below, _ := strings.Cut(c.pattern, "/")
		if below == "" || c.repository == below || strings.HasPrefix(c.repository, below+"/") {
			kept = append(kept, c)
		}
	}
	return kept
}

// dockerHub has several names for one registry.
var dockerHub = map[string]string{"registry-1.docker.io": "docker.io", "index.docker.io": "docker.io"}

// matches reports whether the credential is one for a host. That of a registry is never shown to its mirrors.
func (c credential) matches(host string) bool {
	pattern, _, _ := strings.Cut(c.pattern, "/")
	pattern, host = cmp.Or(dockerHub[pattern], pattern), cmp.Or(dockerHub[host], host)
	globs, labels := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(globs) != len(labels) {
		return false
	}
	for i, g := range globs {
		if ok, err := path.Match(g, labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
