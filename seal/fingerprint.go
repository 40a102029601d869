package seal

import (
	"encoding/hex"

	"golang.org/x/crypto/argon2"

	"headway.dev/headway/api"
)

// The cost of a fingerprint: about 10 ms, and 8 MiB, for each guess.
const (
	passes  = 2
	memory  = 8 << 10 // KiB
	threads = 1
	length  = 32 // bytes
)

// Fingerprint tells the content of a secret from any other, and nothing else of it: it stands in the templates of pods, where
// everybody on the bus can read it, so that a changed secret rolls its pods. Secrets are often short or guessable, for which a
// plain hash would do no good: this one is Argon2id (RFC 9106), salted with what the secret is called.
//
// It needs no key, so that a control plane that has lost everything comes to the same result.
func Fingerprint(secret api.Ref, content []byte) api.Digest {
	salt := []byte("headway.dev/secret/" + secret.String())
	return api.Digest(hex.EncodeToString(argon2.IDKey(content, salt, passes, memory, threads, length)))
}
