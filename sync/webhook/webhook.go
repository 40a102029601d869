// Package webhook takes the push events of Git hosts, so that a commit is seen when it is pushed and not at the next
// poll.
//
// An event only wakes the mirror, which then looks for itself: nothing in the event is believed, not even what was
// pushed. The secret keeps strangers from making it look all the time.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxBody is the size in bytes of the largest event that is taken. GitHub's own limit is 25 MB; push events with all
// their commits are far below it.
const maxBody = 25 << 20

// Handler takes POST requests of GitHub, GitLab, Gitea, Forgejo and Gogs, and of anybody else who can send the secret as
// a token (Authorization: Bearer) or sign with it (X-Hub-Signature-256). It calls wake, which must not block, for each
// push. An empty secret takes every request.
//
// It answers 202 when it woke the mirror, 204 to events of another kind, 401 when token or signature are missing or
// wrong, 405 to other methods than POST and 413 to bodies over 25 MiB.
func Handler(secret string, wake func()) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "send push events as POST", http.StatusMethodNotAllowed)
			return
		}
		if err := verify(secret, r.Header, http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			status := http.StatusUnauthorized
			var tooLarge *http.MaxBytesError
			switch {
			case errors.As(err, &tooLarge):
				status = http.StatusRequestEntityTooLarge
			case !errors.Is(err, errUnauthorized):
				status = http.StatusBadRequest
			}
			http.Error(w, err.Error(), status)
			return
		}
		if !isPush(r.Header) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		wake()
		w.WriteHeader(http.StatusAccepted)
	})
}

var errUnauthorized = errors.New("the webhook's secret is missing or wrong: set the same one on both sides")

// signatures are the headers that carry an HMAC-SHA256 of the body in hexadecimal, after a prefix. With another prefix
// they hold another kind of signature: GitHub sends a SHA-1 beside the SHA-256.
var signatures = []struct{ header, prefix string }{
	{"X-Hub-Signature-256", "sha256="}, // GitHub, Gitea, Forgejo
	{"X-Hub-Signature", "sha256="},     // Bitbucket
	{"X-Gitea-Signature", ""},
	{"X-Forgejo-Signature", ""},
	{"X-Gogs-Signature", ""},
}

// verify reads the body and checks it. Every token and signature that is there must be right, and one must be there.
func verify(secret string, header http.Header, body io.Reader) error {
	mac := hmac.New(sha256.New, []byte(secret))
	if _, err := io.Copy(mac, body); err != nil {
		return fmt.Errorf("the event cannot be read: %w", err)
	}
	if secret == "" {
		return nil
	}
	sum, seen := mac.Sum(nil), 0
	for _, s := range signatures {
		digits, ok := strings.CutPrefix(header.Get(s.header), s.prefix)
		if !ok || digits == "" {
			continue
		}
		seen++
		if got, err := hex.DecodeString(digits); err != nil || !hmac.Equal(got, sum) {
			return errUnauthorized
		}
	}
	for _, token := range tokens(header) {
		seen++
		if subtle.ConstantTimeCompare([]byte(token), []byte(secret)) != 1 {
			return errUnauthorized
		}
	}
	if seen == 0 {
		return errUnauthorized
	}
	return nil
}

// tokens are the secrets that a request carries as they are: GitLab's, and the generic one.
func tokens(header http.Header) []string {
	var found []string
	if t := header.Get("X-Gitlab-Token"); t != "" {
		found = append(found, t)
	}
	if t, ok := strings.CutPrefix(header.Get("Authorization"), "Bearer "); ok {
		found = append(found, t)
	}
	return found
}

// isPush tells events that can have moved a branch or tag. A sender that names no kind of event means a push.
func isPush(header http.Header) bool {
	for _, name := range []string{"X-GitHub-Event", "X-Gitlab-Event", "X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event", "X-Event-Key"} {
		kind := strings.ToLower(header.Get(name))
		if kind == "" {
			continue
		}
		return strings.Contains(kind, "push") || kind == "create" || kind == "delete" || kind == "repo:refs_changed"
	}
	return true
}
