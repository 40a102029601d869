package controller

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// pulls is what a leader knows of the secrets that nodes show to registries. The zero value knows nothing.
type pulls struct {
	accounts map[api.Ref][]string // what declared service accounts name
	sealed   map[pullKey]api.Digest
}

// A pullKey names what is sealed once: what secrets hold, for one node.
type pullKey struct {
	print api.Digest
	node  string
}

// observe takes in the service accounts in force.
func (l *pulls) observe(objects []api.Object) {
	l.accounts = map[api.Ref][]string{}
	for _, o := range objects {
		if account, ok := o.Value.(*corev1.ServiceAccount); ok {
			l.accounts[o.Ref] = secretNames(account.ImagePullSecrets)
		}
	}
}

// defaultAccount is the service account of pods that name none.
const defaultAccount = "default"

// names are the secrets by which the images of a new pod are pulled: its own, or else those of its service account, as
// Kubernetes fills them in when a pod is created.
func (l *pulls) names(spec *corev1.PodSpec, namespace string) []string {
	if own := secretNames(spec.ImagePullSecrets); len(own) > 0 {
		return own
	}
	account := cmp.Or(spec.ServiceAccountName, defaultAccount)
	return l.accounts[api.Ref{Kind: "ServiceAccount", Namespace: namespace, Name: account}]
}

func secretNames(refs []corev1.LocalObjectReference) []string {
	var names []string
	for _, r := range refs {
		if r.Name != "" && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

// pullSecrets gives what a node shows to registries for a new pod. A secret that is not there keeps no pod from its node: the
// pull goes on without it, and says so.
func (s *state) pullSecrets(names []string, namespace, node string) *api.PullSecrets {
	if len(names) == 0 {
		return nil
	}
	pull := &api.PullSecrets{Names: names}
	if contents, print := s.pullContents(names, namespace); print != "" {
		if sealed, ok := s.sealPull(pullKey{print, node}, contents); ok {
			pull.Print, pull.Sealed = print, sealed
		}
	}
	return pull
}

// pullContents gives of the named secrets what is for registries, and what stands for it; that is empty where there is nothing.
func (s *state) pullContents(names []string, namespace string) (contents api.SecretContents, print api.Digest) {
	contents = api.SecretContents{}
	sum := sha256.New()
	for _, name := range names {
		o := s.secrets[api.Ref{Kind: "Secret", Namespace: namespace, Name: name}]
		secret, ok := o.Value.(*corev1.Secret)
		if !ok {
			continue
		}
		data := maps.Clone(secret.Data)
		maps.DeleteFunc(data, func(key string, _ []byte) bool {
			return key != corev1.DockerConfigJsonKey && key != corev1.DockerConfigKey
		})
		if len(data) > 0 {
			contents[name] = data
			fmt.Fprintf(sum, "%s %s\n", name, o.Fingerprint)
		}
	}
	if len(contents) == 0 {
		return nil, ""
	}
	return contents, api.Digest(hex.EncodeToString(sum.Sum(nil)))
}

// sealPull gives the blob with the contents, sealed to the node; false where the node has said no key.
func (s *state) sealPull(key pullKey, contents api.SecretContents) (api.Digest, bool) {
	if digest, ok := s.pulls.sealed[key]; ok {
		return digest, true
	}
	digest, err := s.sealToNode(key.node, contents)
	if err != nil {
		return "", false
	}
	if s.pulls.sealed == nil {
		s.pulls.sealed = map[pullKey]api.Digest{}
	}
	s.pulls.sealed[key] = digest
	return digest, true
}

// renewPulls gives pods what their pull secrets hold now. Those of which this leader knows only that they are kept stay as
// they are.
func (s *state) renewPulls() {
	hollow := map[api.Ref]bool{}
	for _, o := range s.kept {
		_, known := s.secrets[o.Ref]
		hollow[o.Ref] = !known
	}
	for _, n := range s.nodes {
		if !n.unlooked && !n.census.pulls {
			continue
		}
		for _, p := range n.pods {
			last, namespace := p.placement.Pull, p.placement.Pod.Namespace
			if !p.assigned || last == nil || slices.ContainsFunc(last.Names, func(name string) bool {
				return hollow[api.Ref{Kind: "Secret", Namespace: namespace, Name: name}]
			}) {
				continue
			}
			contents, print := s.pullContents(last.Names, namespace)
			if print == last.Print {
				continue
			}
			next := &api.PullSecrets{Names: last.Names}
			if print != "" {
				sealed, ok := s.sealPull(pullKey{print, n.name}, contents)
				if !ok {
					continue
				}
				next.Print, next.Sealed = print, sealed
			}
			p.placement.Pull = next
			s.noteRecipient(&p.placement)
			n.touch()
			s.pods.unswept = true
		}
	}
}

// forgetPulls drops what no pod is given any more.
func (s *state) forgetPulls() {
	used := map[pullKey]bool{}
	for _, n := range s.nodes {
		for _, p := range n.pods {
			if pull := p.placement.Pull; pull != nil {
				used[pullKey{pull.Print, n.name}] = true
			}
		}
	}
	maps.DeleteFunc(s.pulls.sealed, func(k pullKey, _ api.Digest) bool { return !used[k] })
}
