package api

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
)

// SecretData is the content of a secret in plain text. However it is printed, logged or written as JSON, it shows that
// there is one and nothing of it: only Reveal gives it away.
type SecretData struct {
	// Behind two pointers: printing a struct that holds a SecretData follows one of them where the verb does not fit.
	content **secretContent
}

type secretContent struct{ data map[string][]byte }

// redacted is all that is ever shown of a secret.
const redacted = "[redacted]"

// NewSecretData holds content by key. It keeps the map, which nobody may change after that.
func NewSecretData(data map[string][]byte) SecretData {
	content := &secretContent{data}
	return SecretData{&content}
}

// Reveal gives the content by key, for who puts it where it belongs. Nobody may change it.
func (s SecretData) Reveal() map[string][]byte {
	if s.content == nil {
		return nil
	}
	return (*s.content).data
}

// Keys are the names of all values, in order.
func (s SecretData) Keys() []string { return slices.Sorted(maps.Keys(s.Reveal())) }

// String shows nothing of the content.
func (s SecretData) String() string { return redacted }

// GoString shows nothing of the content.
func (s SecretData) GoString() string { return "api.SecretData(" + redacted + ")" }

// MarshalJSON shows nothing of the content.
func (s SecretData) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// LogValue shows nothing of the content.
func (s SecretData) LogValue() slog.Value { return slog.StringValue(redacted) }
