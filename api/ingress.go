package api

// IngressRules say which service takes an HTTP request from outside. They are made of all ingresses in force, and are the
// same for every node. Written by the controller.
type IngressRules struct {
	// Hosts are ordered by host, each once. A request is for the host of its name; else for the wildcard that stands for
	// it, else for the host without a name.
	Hosts []IngressHost `json:"hosts,omitempty"`
	// Default takes what no path of its host takes; nil is nobody.
	Default *IngressBackend `json:"default,omitempty"`
	// TLS are the hosts that have a certificate, ordered by host, each once.
	TLS []IngressTLS `json:"tls,omitempty"`
}

// Empty reports whether there is nothing to serve.
func (r IngressRules) Empty() bool { return len(r.Hosts) == 0 && r.Default == nil }

// An IngressHost is what one host serves.
type IngressHost struct {
	// Host is a name in lower case; *.example.com is every name with one label in place of the star; empty is every name
	// that no other host is for.
	Host string `json:"host,omitempty"`
	// Paths are ordered, each once: the first that a request's path fits takes it.
	Paths []IngressPath `json:"paths,omitempty"`
	// Default takes what none of them takes, before the rules' own.
	Default *IngressBackend `json:"default,omitempty"`
}

// An IngressPath is a path, or all below it.
type IngressPath struct {
	// Path begins with a slash. Unless it is Exact, it stands for itself and all whose first elements are its own, and ends
	// in a slash only if it is one.
	Path  string `json:"path"`
	Exact bool   `json:"exact,omitempty"`
	IngressBackend
}

// An IngressBackend is where a request goes.
type IngressBackend struct {
	Ingress Ref `json:"ingress"` // the one that says so
	Service Ref `json:"service"`
	// Port is one of the service's own ports; 0 where it has none by the name that the ingress says. Requests are refused then.
	Port int32 `json:"port,omitempty"`
	// H2C has the endpoints speak HTTP/2 without TLS.
	H2C bool `json:"h2c,omitempty"`
	// ToHTTPS sends requests that come without TLS to the same place with it, where the host has a certificate.
	ToHTTPS bool `json:"toHTTPS,omitempty"`
}

// IngressTLS names the certificate of a host.
type IngressTLS struct {
	Host    string `json:"host,omitempty"` // as in IngressHost
	Ingress Ref    `json:"ingress"`        // the one that says so
	Secret  Ref    `json:"secret"`
}

// An IngressAssignment is what one node has for HTTP from outside. Written by the controller.
type IngressAssignment struct {
	// Rules is the blob with the rules: IngressRules in JSON. Empty is none: the node serves nothing.
	Rules        Digest              `json:"rules,omitempty"`
	Certificates []SealedCertificate `json:"certificates,omitempty"` // ordered by secret
}

// A SealedCertificate is what a secret with a certificate holds, for one node.
type SealedCertificate struct {
	Secret Ref `json:"secret"`
	// Fingerprint is that of the content, and Recipient the node's key (NodeInfo.SealKey): what is sealed already for both
	// is not sealed again.
	Fingerprint Digest `json:"fingerprint"`
	Recipient   string `json:"recipient"`
	// Sealed is the blob with the content (a SecretContents in JSON, of this secret alone), sealed to the node.
	Sealed Digest `json:"sealed"`
}
