package ingress

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// certificates are those of the hosts that have one. They never change.
type certificates struct {
	hosts map[string]*certified
}

// A certified host is one that is to be served by TLS.
type certified struct {
	entry       api.IngressTLS
	certificate *tls.Certificate
	err         error     // why there is none
	once        sync.Once // that has been told
}

func newCertificates(rules api.IngressRules, secrets map[api.Ref]api.SecretData) *certificates {
	c := &certificates{hosts: make(map[string]*certified, len(rules.TLS))}
	read := map[api.Ref]*certified{}
	for _, entry := range rules.TLS {
		if read[entry.Secret] == nil {
			read[entry.Secret] = readCertificate(entry.Secret, secrets)
		}
		secret := read[entry.Secret]
		c.hosts[entry.Host] = &certified{entry: entry, certificate: secret.certificate, err: secret.err}
	}
	return c
}

func readCertificate(secret api.Ref, secrets map[api.Ref]api.SecretData) *certified {
	data, ok := secrets[secret]
	if !ok {
		return &certified{err: fmt.Errorf("%s is not in force, or lacks %s or %s", secret, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)}
	}
	pair, err := tls.X509KeyPair(data.Reveal()[corev1.TLSCertKey], data.Reveal()[corev1.TLSPrivateKeyKey])
	if err != nil {
		return &certified{err: fmt.Errorf("%s holds no certificate and the key to it: %w", secret, err)}
	}
	return &certified{certificate: &pair}
}

// errNoHost refuses who asks by TLS for a host that nothing is said of.
var errNoHost = errors.New("no certificate is for that host")

// find gives the certificate of a host; refused is the host that has none though it should.
func (c *certificates) find(name string) (certificate *tls.Certificate, refused *certified, err error) {
	found, ok := lookup(c.hosts, strings.TrimSuffix(strings.ToLower(name), "."))
	switch {
	case !ok:
		return nil, nil, errNoHost
	case found.err != nil:
		return nil, found, found.err
	}
	return found.certificate, nil, nil
}

// has reports whether a host can be served by TLS.
func (c *certificates) has(name string) bool {
	certificate, _, _ := c.find(name)
	return certificate != nil
}
