package api

// PullSecrets are what a node shows to registries for one pod: the imagePullSecrets of its spec, or else of its service
// account. They are no part of the pod's template: what they hold may change while the pod lives, rolls nothing, and counts
// from the next pull on. Written by the controller.
type PullSecrets struct {
	// Names are the secrets in the order of the spec, also those that are not declared.
	Names []string `json:"names"`
	// Print stands for what they hold, by the fingerprints of the secrets; empty when none of them is there. It proves what a
	// pod has shown to a registry before.
	Print Digest `json:"print,omitempty"`
	// Sealed is the blob with those that are there (a SecretContents in JSON), sealed to the node.
	Sealed Digest `json:"sealed,omitempty"`
}

// Same reports whether two hold the same, whoever sealed them.
func (s *PullSecrets) Same(o *PullSecrets) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.Print == o.Print
}
