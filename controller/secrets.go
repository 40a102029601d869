package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A Sealer makes of plain content what only the node with that public key can open.
type Sealer func(plain []byte, recipient string) ([]byte, error)

// A sealedKey names what is sealed once: what the pods of one template need on one node. Templates name secrets without
// their namespace.
type sealedKey struct {
	template        api.Digest
	namespace, node string
}

// observeSecrets takes in the secrets in force. Of those that Git has dropped, only this leader's own knowledge will do: what
// the store has is hollow.
func (s *state) observeSecrets() {
	known := s.secrets
	s.pulls.observe(s.desired.objects)
	clear(s.ingress.sealed)
	s.secrets = map[api.Ref]api.Object{}
	for _, o := range s.desired.objects {
		if _, ok := o.Value.(*corev1.Secret); ok {
			s.secrets[o.Ref] = o
		}
	}
	for _, o := range s.kept {
		if k, ok := known[o.Ref]; ok && k.Fingerprint == o.Fingerprint {
			s.secrets[o.Ref] = k
		}
	}
}

// seal gives the blob with what the secrets of a template hold, for the pods of one namespace on one node; an empty digest
// where there are none. The error says why no pod of the template can be given to the node.
func (s *state) seal(digest api.Digest, template *api.PodTemplate, namespace, node string) (api.Digest, error) {
	if len(template.Secrets) == 0 {
		return "", nil
	}
	key := sealedKey{digest, namespace, node}
	if d, ok := s.sealed[key]; ok {
		return d, nil
	}
	contents := api.SecretContents{}
	for _, name := range slices.Sorted(maps.Keys(template.Secrets)) {
		ref := api.Ref{Kind: "Secret", Namespace: namespace, Name: name}
		o := s.secrets[ref]
		secret, ok := o.Value.(*corev1.Secret)
		if !ok || o.Fingerprint != template.Secrets[name] {
			return "", fmt.Errorf("%s has changed since the pod's template was made, and what it held is not known any more", ref)
		}
		contents[name] = secret.Data
	}
	d, err := s.sealToNode(node, contents)
	if err != nil {
		return "", err
	}
	s.sealed[key] = d
	return d, nil
}

// forgetSealed drops what was sealed to a node that has another key now: it has lost the one of before, or its machine was made
// anew under the same name.
func (s *state) forgetSealed(node string) {
	maps.DeleteFunc(s.sealed, func(k sealedKey, _ api.Digest) bool { return k.node == node })
	maps.DeleteFunc(s.live, func(k liveKey, _ api.Digest) bool { return k.node == node })
	maps.DeleteFunc(s.pulls.sealed, func(k pullKey, _ api.Digest) bool { return k.node == node })
}

// sealToNode gives the blob with what secrets hold, sealed to the node. The error says why no pod can have it there.
func (s *state) sealToNode(node string, contents api.SecretContents) (api.Digest, error) {
	info := s.nodes[node].info
	if info == nil || info.SealKey == "" {
		return "", fmt.Errorf("node %s has said no key that secrets could be sealed to: is it of an older version?", node)
	}
	d, err := s.sealTo(info.SealKey, contents)
	if err != nil {
		return "", fmt.Errorf("node %s: %w", node, err)
	}
	return d, nil
}

// sealTo makes the blob with the contents, sealed to a node's key.
func (s *state) sealTo(recipient string, contents api.SecretContents) (api.Digest, error) {
	plain, err := json.Marshal(contents)
	if err != nil {
		return "", err
	}
	data, err := s.sealer(plain, recipient)
	if err != nil {
		return "", err
	}
	d := digestOf(data)
	if !s.stored[d] {
		s.blobs[d] = data
	}
	return d, nil
}

func digestOf(data []byte) api.Digest {
	sum := sha256.Sum256(data)
	return api.Digest(hex.EncodeToString(sum[:]))
}
