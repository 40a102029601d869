package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestSecretDataShowsNothing(t *testing.T) {
	const word = "swordfish"
	secret := NewSecretData(map[string][]byte{"password": []byte(word), "key": {1}})
	type holder struct {
		Shown  SecretData
		hidden SecretData
		list   []SecretData
	}
	held := holder{secret, secret, []SecretData{secret}}
	var out bytes.Buffer
	for _, value := range []any{secret, &secret, held, &held, map[string]SecretData{"a": secret}, []any{secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
		slog.New(slog.NewTextHandler(&out, nil)).Info("a secret", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("a secret", "value", value)
	}
	for _, shown := range []string{word, fmt.Sprintf("%x", word), fmt.Sprintf("%d", []byte(word)), "password"} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("%q is shown in\n%s", shown, &out)
		}
	}
	if got := string(secret.Reveal()["password"]); got != word || !slices.Equal(secret.Keys(), []string{"key", "password"}) {
		t.Errorf("it reveals %q, and has keys %v", got, secret.Keys())
	}
	if none := (SecretData{}); len(none.Reveal()) != 0 || none.String() != redacted {
		t.Error("an empty one is not empty")
	}
}
