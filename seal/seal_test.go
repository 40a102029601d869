package seal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/seal"
)

func load(t testing.TB, path string) *seal.Identity {
	t.Helper()
	i, err := seal.LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestOnlyTheRecipientOpens(t *testing.T) {
	own, other := load(t, filepath.Join(t.TempDir(), "a", "key")), load(t, filepath.Join(t.TempDir(), "key"))
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain")
		sealed, err := seal.Seal(plain, own.Recipient())
		if err != nil {
			rt.Fatal(err)
		}
		if len(plain) > 8 && bytes.Contains(sealed, plain) {
			rt.Fatal("it can be read")
		}
		if got, err := own.Open(sealed); err != nil || !bytes.Equal(got, plain) {
			rt.Fatalf("opened: %q, %v", got, err)
		}
		if _, err := other.Open(sealed); err == nil {
			rt.Fatal("another opened it")
		}
		// Whatever is changed or cut off, nothing comes out.
		broken := bytes.Clone(sealed)
		at := rapid.IntRange(0, len(broken)-1).Draw(rt, "at")
		if rapid.Bool().Draw(rt, "cut") {
			broken = broken[:at]
		} else {
			broken[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		}
		if got, err := own.Open(broken); err == nil {
			rt.Fatalf("%q came out of what was broken at %d", got, at)
		}
	})
}

func TestIdentityStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	recipients := make([]string, 8)
	var group sync.WaitGroup
	for n := range recipients {
		group.Go(func() {
			if i, err := seal.LoadIdentity(path); err == nil {
				recipients[n] = i.Recipient()
			}
		})
	}
	group.Wait()
	for _, r := range recipients {
		if r == "" || r != load(t, path).Recipient() {
			t.Errorf("%q is not the key of all", r)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left beside the key: %v, %v", entries, err)
	}
}

func TestBadKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	const garbage = "AGE-SECRET-KEY-1NOTAKEY"
	if err := os.WriteFile(path, []byte(garbage), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadIdentity(path); err == nil || !strings.Contains(err.Error(), "delete it") || strings.Contains(err.Error(), "NOTAKEY") {
		t.Errorf("got %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadIdentity(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v", err)
	}
	if _, err := seal.Seal(nil, "age1nobody"); err == nil || !strings.Contains(err.Error(), "age1nobody") {
		t.Errorf("got %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	ref := api.Ref{Kind: "Secret", Namespace: "shop", Name: "db"}
	other := api.Ref{Kind: "Secret", Namespace: "shop", Name: "dc"}
	a := seal.Fingerprint(ref, []byte("hunter2"))
	// It must never change: pods that use secrets would restart with a new version of headway.
	if a != "bcec1280ee02a2aeaabedef7f2e3dc9296b61fa17079712d527996a5d6760d84" {
		t.Errorf("got %s", a)
	}
	if a == seal.Fingerprint(ref, []byte("hunter3")) || a == seal.Fingerprint(other, []byte("hunter2")) {
		t.Error("two secrets have one fingerprint")
	}
}

func BenchmarkFingerprint(b *testing.B) {
	for b.Loop() {
		seal.Fingerprint(api.Ref{Kind: "Secret", Namespace: "shop", Name: "db"}, []byte("hunter2"))
	}
}
