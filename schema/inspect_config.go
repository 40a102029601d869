package schema

import (
	corev1 "k8s.io/api/core/v1"
)

// maxConfig is how much a config map or a secret may hold, as in Kubernetes: 1 MiB.
const maxConfig = 1 << 20

func finishConfigMap(i *inspection, m *corev1.ConfigMap) {
	size := 0
	for k, v := range m.Data {
		size += len(k) + len(v)
	}
	for k, v := range m.BinaryData {
		size += len(k) + len(v)
		if _, ok := m.Data[k]; ok {
			i.fail([]any{"binaryData", k}, "the key is in data too: keep one of them")
		}
	}
	if size > maxConfig {
		i.fail([]any{"data"}, "holds %d bytes, but a config map may hold %d at most", size, maxConfig)
	}
}

func finishSecret(i *inspection, s *corev1.Secret) {
	defaultSecret(s)
	size := 0
	for _, v := range s.Data {
		size += len(v)
	}
	if size > maxConfig {
		i.fail([]any{"data"}, "holds %d bytes, but a secret may hold %d at most", size, maxConfig)
	}
	for _, key := range secretKeys(s.Type) {
		if _, ok := s.Data[key]; !ok {
			i.fail([]any{"data"}, "lacks the key %s, which a secret of type %s must have", key, s.Type)
		}
	}
	if s.Type == corev1.SecretTypeBasicAuth && len(s.Data[corev1.BasicAuthUsernameKey]) == 0 && len(s.Data[corev1.BasicAuthPasswordKey]) == 0 {
		i.fail([]any{"data"}, "lacks the keys username and password, one of which a secret of type %s must have", s.Type)
	}
}

// secretKeys are the keys that a secret of a type must have.
func secretKeys(t corev1.SecretType) []string {
	switch t {
	case corev1.SecretTypeTLS:
		return []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey}
	case corev1.SecretTypeDockerConfigJson:
		return []string{corev1.DockerConfigJsonKey}
	case corev1.SecretTypeDockercfg:
		return []string{corev1.DockerConfigKey}
	case corev1.SecretTypeSSHAuth:
		return []string{corev1.SSHAuthPrivateKey}
	}
	return nil
}

func finishServiceAccount(i *inspection, a *corev1.ServiceAccount) {
	for n, s := range a.ImagePullSecrets {
		i.mention([]any{"imagePullSecrets", n, "name"}, "Secret", s.Name)
	}
}
