package node_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/fakehost"
)

// keyed opens what begins with its name.
type keyed string

func (k keyed) Open(sealed []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, []byte(k))
	if !ok {
		return nil, errors.New("no identity matched any of the recipients")
	}
	return plain, nil
}

// sealedTo gives what a pod of the template "web" has of secrets, sealed to a key.
func (w *world) sealedTo(k keyed, p api.Placement) api.Placement {
	w.Helper()
	seal := func(contents api.SecretContents) api.Digest {
		plain, err := json.Marshal(contents)
		if err != nil {
			w.Fatal(err)
		}
		return w.bus.put(append([]byte(k), plain...))
	}
	p.Recipient = string(k)
	p.Sealed = seal(api.SecretContents{"login": {"password": []byte("swordfish")}})
	p.Live = &api.LiveConfig{
		Secrets: map[string]api.LiveContent{"files": {Digest: "print"}}, Sealed: seal(api.SecretContents{"files": {"user": []byte("ann")}}),
	}
	p.Pull = &api.PullSecrets{Names: []string{"reg"}, Print: "print", Sealed: seal(api.SecretContents{"reg": {".dockercfg": []byte("{}")}})}
	return p
}

// TestSealedToAnotherKey has a node lose its key. What runs goes on running, what ends cannot be made again; until the same
// secrets come sealed to the new key, and these are on disk then for a start without the bus.
func TestSealedToAnotherKey(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		template := simple("web")
		template.Secrets = map[string]api.Digest{"login": "fingerprint"}
		template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "login"}, Key: "password"},
		}}}
		w.template("web", template, nil)
		assign := func(sequence uint64, k keyed) api.Assignment {
			a := api.Assignment{Node: "n1", Term: 1, Sequence: sequence}
			for _, name := range []string{"ends", "stays"} {
				a.Pods = append(a.Pods, w.sealedTo(k, w.placement(name, "web", "c1")))
			}
			w.bus.change(func() { w.bus.assignment = &a })
			return a
		}
		begin := func(k keyed) {
			w.startBy(func(c *node.Config) { c.Secrets, c.Restart = k, node.Restart{First: time.Second, Most: time.Second} })
			pass(time.Second)
		}
		is := func(when, want string) {
			w.Helper()
			if got := w.statusText(false); !strings.Contains(got, want) {
				w.Errorf("%s:\n%s\nwant in it: %s", when, got, want)
			}
		}
		begin("old")
		assign(1, "old")
		pass(time.Minute)
		is("with its key", "ends Running ready")

		begin("new")
		w.host.Exit("u-ends.web.0", 1)
		pass(time.Minute)
		is("without it", "open secrets")
		is("without it", "stays Running ready")

		last := assign(2, "new")
		pass(10 * time.Second)
		is("sealed anew", "ends Running ready")
		is("sealed anew", "stays Running ready")
		for _, p := range w.bus.lastStatus().Pods {
			if want := map[string]int{"ends": 1, "stays": 0}[p.Placement.Pod.Name]; p.Containers[0].Restarts != want {
				w.Errorf("%s was restarted %d times, want %d", p.Placement.Pod.Name, p.Containers[0].Restarts, want)
			}
			i := slices.IndexFunc(last.Pods, func(a api.Placement) bool { return a.UID == p.Placement.UID })
			if got, want := p.Placement, last.Pods[i]; got.Sealed != want.Sealed || got.Live.Sealed != want.Live.Sealed || got.Pull.Sealed != want.Pull.Sealed {
				w.Errorf("%s has not taken up what was sealed anew: %+v", got.Pod.Name, got)
			}
		}

		w.bus.change(func() { clear(w.bus.blobs) })
		begin("new")
		w.host.Exit("u-stays.web.0", 1)
		pass(time.Minute)
		is("with nothing but its disk", "stays Running ready")
		if kept, err := os.ReadDir(filepath.Join(w.dir, "blobs")); err != nil || len(kept) != 4 { // a template, and three that are sealed
			w.Errorf("on disk are %v, %v", kept, err)
		}
	})
}
