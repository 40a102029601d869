package controller

import (
	"encoding/json"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// An ingressBook is what nodes should have for HTTP from outside.
type ingressBook struct {
	// planned is that this leader has planned the rules. Until then nodes keep those that they have.
	planned bool
	// forgot is that this leader found no record of what was in force before it.
	forgot bool
	rules  api.IngressRules
	digest api.Digest // of the rules, as a blob; empty where there are none
	sealed map[sealedCertificate]api.Digest
}

// A sealedCertificate names a certificate that is sealed once for a node, by that node's key.
type sealedCertificate struct {
	secret      api.Ref
	fingerprint api.Digest
	recipient   string
}

// wantIngress sets the rules that nodes should have. Of objects with gaps, and no record of what filled them, no rules are
// made: what is missing there may be served by all nodes.
func (s *state) wantIngress(rules api.IngressRules) {
	b := &s.ingress
	if s.desired.gaps && b.forgot {
		return
	}
	b.forgot = false
	if b.planned && reflect.DeepEqual(b.rules, rules) {
		return
	}
	b.planned, b.rules, b.digest = true, rules, ""
	if rules.Empty() {
		return
	}
	data, err := json.Marshal(rules)
	if err != nil { // strings and numbers: there is nothing that could not be written
		b.planned = false
		return
	}
	b.digest = digestOf(data)
	if !s.stored[b.digest] {
		s.blobs[b.digest] = data
	}
}

// assignIngress gives what a node should have: the rules, and the certificates that they name, sealed to it. One that is not
// in force, or that nobody can read any more, is missing, and the node says so.
func (s *state) assignIngress(n *node) *api.IngressAssignment {
	had := n.written.Ingress
	if !s.ingress.planned || n.info == nil {
		return had
	}
	a := &api.IngressAssignment{Rules: s.ingress.digest}
	if a.Rules == "" || n.info.SealKey == "" {
		return a
	}
	var secrets []api.Ref
	for _, tls := range s.ingress.rules.TLS {
		secrets = append(secrets, tls.Secret)
	}
	slices.SortFunc(secrets, api.Ref.Compare)
	for _, secret := range slices.Compact(secrets) {
		if c, ok := s.certificate(secret, n.info.SealKey, had); ok {
			a.Certificates = append(a.Certificates, c)
		}
	}
	return a
}

// certificate gives what a secret holds, sealed. What the node has already is not sealed anew: it is the same, and would look
// like another.
func (s *state) certificate(secret api.Ref, recipient string, had *api.IngressAssignment) (c api.SealedCertificate, ok bool) {
	o, ok := s.secrets[secret]
	if !ok {
		// It may be kept though Git has dropped it: then the store has its fingerprint, and no more.
		i, found := slices.BinarySearchFunc(s.inForce, secret, func(o api.Object, ref api.Ref) int { return o.Ref.Compare(ref) })
		if !found {
			return c, false
		}
		o = s.inForce[i]
	}
	c = api.SealedCertificate{Secret: secret, Fingerprint: o.Fingerprint, Recipient: recipient}
	if had != nil {
		for _, before := range had.Certificates {
			c.Sealed = before.Sealed
			if c == before {
				return c, true
			}
		}
	}
	key := sealedCertificate{secret, c.Fingerprint, recipient}
	if c.Sealed, ok = s.ingress.sealed[key]; ok {
		return c, true
	}
	value, ok := o.Value.(*corev1.Secret)
	if !ok || len(value.Data[corev1.TLSCertKey]) == 0 || len(value.Data[corev1.TLSPrivateKeyKey]) == 0 {
		return c, false
	}
	contents := api.SecretContents{secret.Name: {
		corev1.TLSCertKey: value.Data[corev1.TLSCertKey], corev1.TLSPrivateKeyKey: value.Data[corev1.TLSPrivateKeyKey],
	}}
	var err error
	if c.Sealed, err = s.sealTo(recipient, contents); err != nil {
		return c, false // the key is not one: pods with secrets are refused by the same, and say so
	}
	s.ingress.sealed[key] = c.Sealed
	return c, true
}
