package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const secret = "s3cret"

func sign(key, body string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

func send(secret string, r *http.Request) (status, wakes int) {
	w := httptest.NewRecorder()
	Handler(secret, func() { wakes++ }).ServeHTTP(w, r)
	return w.Code, wakes
}

func TestHandler(t *testing.T) {
	const body = `{"ref":"refs/heads/main"}`
	good, bad := sign(secret, body), sign("guess", body)
	for _, c := range []struct {
		name, secret string
		header       map[string]string
		status       int
	}{
		{"GitHub", secret, map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + good, "X-Hub-Signature": "sha1=0000"}, 202},
		{"GitHub ping", secret, map[string]string{"X-GitHub-Event": "ping", "X-Hub-Signature-256": "sha256=" + good}, 204},
		{"GitHub tag", secret, map[string]string{"X-GitHub-Event": "create", "X-Hub-Signature-256": "sha256=" + good}, 202},
		{"GitHub, wrong secret", secret, map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + bad}, 401},
		{"GitHub, SHA-1 alone", secret, map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature": "sha1=" + good}, 401},
		{"GitHub, no prefix", secret, map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": good}, 401},
		{"GitHub, half a signature", secret, map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + good[:32]}, 401},
		{"GitHub, no hex", secret, map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=zz"}, 401},
		{"GitLab", secret, map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": secret}, 202},
		{"GitLab tag", secret, map[string]string{"X-Gitlab-Event": "Tag Push Hook", "X-Gitlab-Token": secret}, 202},
		{"GitLab issue", secret, map[string]string{"X-Gitlab-Event": "Issue Hook", "X-Gitlab-Token": secret}, 204},
		{"GitLab, wrong token", secret, map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "guess"}, 401},
		{"Gitea", secret, map[string]string{"X-Gitea-Event": "push", "X-Gitea-Signature": good, "X-Hub-Signature-256": "sha256=" + good}, 202},
		{"Gitea, wrong secret", secret, map[string]string{"X-Gitea-Event": "push", "X-Gitea-Signature": bad}, 401},
		{"Bitbucket", secret, map[string]string{"X-Event-Key": "repo:push", "X-Hub-Signature": "sha256=" + good}, 202},
		{"anybody with the token", secret, map[string]string{"Authorization": "Bearer " + secret}, 202},
		{"anybody with a wrong token", secret, map[string]string{"Authorization": "Bearer guess"}, 401},
		{"one right, one wrong", secret, map[string]string{"X-Hub-Signature-256": "sha256=" + good, "X-Gitlab-Token": "guess"}, 401},
		{"nothing", secret, nil, 401},
		{"no secret", "", nil, 202},
		{"no secret, signed", "", map[string]string{"X-Hub-Signature-256": "sha256=" + bad}, 202},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			status, wakes := send(c.secret, r)
			if status != c.status || wakes > 1 || (wakes == 1) != (status == 202) {
				t.Errorf("status %d and %d wakes, want status %d", status, wakes, c.status)
			}
		})
	}
}

func TestOtherMethods(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		if status, wakes := send("", httptest.NewRequest(method, "/", nil)); status != http.StatusMethodNotAllowed || wakes != 0 {
			t.Errorf("%s: status %d, %d wakes", method, status, wakes)
		}
	}
}

// zeros is a body without end.
type zeros struct{ read int }

func (z *zeros) Read(p []byte) (int, error) {
	z.read += len(p)
	return len(p), nil
}

func TestBodyIsBounded(t *testing.T) {
	body := new(zeros)
	status, wakes := send(secret, httptest.NewRequest(http.MethodPost, "/", body))
	if status != http.StatusRequestEntityTooLarge || wakes != 0 {
		t.Errorf("status %d, %d wakes", status, wakes)
	}
	if body.read > maxBody+1<<20 {
		t.Errorf("%d bytes were read", body.read)
	}
}

func TestSecretIsNotShown(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x"))
	r.Header.Set("X-Gitlab-Token", "guess")
	w := httptest.NewRecorder()
	Handler(secret, func() {}).ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), secret) {
		t.Errorf("the answer shows the secret: %s", w.Body)
	}
}

// FuzzHandler checks that nobody who lacks the secret wakes the mirror, whatever is sent.
func FuzzHandler(f *testing.F) {
	f.Add("X-Hub-Signature-256", "sha256="+sign("guess", "body"), "X-GitHub-Event", "push", []byte("body"))
	f.Add("X-Gitlab-Token", "", "X-Gitlab-Event", "Push Hook", []byte("{}"))
	f.Add("Authorization", "Bearer ", "X-Event-Key", "repo:push", []byte(nil))
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
		r.Header[http.CanonicalHeaderKey(name1)] = []string{value1}
		r.Header[http.CanonicalHeaderKey(name2)] = []string{value2}
		knows := false
		for _, v := range []string{value1, value2} {
			knows = knows || strings.Contains(v, secret) || strings.Contains(strings.ToLower(v), sign(secret, string(body)))
		}
		if _, wakes := send(secret, r); wakes > 0 && !knows {
			t.Errorf("woken by %q: %q, %q: %q", name1, value1, name2, value2)
		}
	})
}
