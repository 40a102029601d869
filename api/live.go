package api

import "maps"

// ConfigAnnotation on a pod template, with the value ConfigLive, has the files of config maps and secrets change in place when
// their content does. Else such a change is a rollout. It is one, too, where an environment or a subPath has the content: these
// never change in a running pod.
const (
	ConfigAnnotation = "headway.dev/config"
	ConfigLive       = "live"
)

// ChangesInPlace reports whether the files of a pod of the template change in place.
func (t *PodTemplate) ChangesInPlace() bool { return t.Annotations[ConfigAnnotation] == ConfigLive }

// LiveConfig is what a pod has of the config maps and secrets that change in place. It is no part of the template. Written by
// the controller.
type LiveConfig struct {
	ConfigMaps map[string]LiveContent `json:"configMaps,omitempty"` // by name
	Secrets    map[string]LiveContent `json:"secrets,omitempty"`    // by name
	// Sealed is the blob with what the secrets hold (a SecretContents in JSON), sealed to the node. Empty is none.
	Sealed Digest `json:"sealed,omitempty"`
}

// LiveContent is one config map or secret of a LiveConfig.
type LiveContent struct {
	// Digest is a config map's blob (a ConfigData in JSON), or a secret's fingerprint. It is empty when there is none.
	Digest Digest `json:"digest,omitempty"`
	// Optional repeats of the template that the pod does without when there is none.
	Optional bool `json:"optional,omitempty"`
}

// Same reports whether two hold the same, whoever sealed them.
func (l *LiveConfig) Same(o *LiveConfig) bool {
	if l == nil || o == nil {
		return l == o
	}
	return maps.Equal(l.ConfigMaps, o.ConfigMaps) && maps.Equal(l.Secrets, o.Secrets)
}

// Blobs are those that the node needs for it.
func (l *LiveConfig) Blobs() []Digest {
	if l == nil {
		return nil
	}
	var all []Digest
	for _, c := range l.ConfigMaps {
		if c.Digest != "" {
			all = append(all, c.Digest)
		}
	}
	if l.Sealed != "" {
		all = append(all, l.Sealed)
	}
	return all
}
