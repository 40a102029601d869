package schema

import (
	"crypto/sha256"
	"encoding/json"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/seal"
)

// maxFingerprints bounds how many fingerprints are remembered.
const maxFingerprints = 20_000

// fingerprints remembers those of secrets: one takes 10 ms, and a file or package is read anew when anything in it changes.
type fingerprints struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]api.Digest // by what the secret is called, and holds
}

// of gives the fingerprint of a secret: that of the canonical JSON of its data.
func (f *fingerprints) of(ref api.Ref, secret *corev1.Secret) api.Digest {
	content, err := json.Marshal(secret.Data)
	if err != nil {
		panic(err) // bytes always have a JSON form
	}
	key := sha256.Sum256(append([]byte(ref.String()+"\x00"), content...))
	if digest, ok := f.find(key); ok {
		return digest
	}
	digest := seal.Fingerprint(ref, content)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil || len(f.known) >= maxFingerprints {
		f.known = map[[sha256.Size]byte]api.Digest{}
	}
	f.known[key] = digest
	return digest
}

func (f *fingerprints) find(key [sha256.Size]byte) (api.Digest, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	digest, ok := f.known[key]
	return digest, ok
}
