package node

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A Puller is Images that takes a pod's own credentials, and tells how far it is.
type Puller interface {
	// Pull is Ensure with what a request says more.
	Pull(ctx context.Context, request PullRequest) (digest string, err error)
}

// A PullRequest asks for an image.
type PullRequest struct {
	Image  string
	Policy corev1.PullPolicy
	// Secrets gives the pod's imagePullSecrets in their order, of the types kubernetes.io/dockerconfigjson and
	// kubernetes.io/dockercfg. It is called only if the registry has to be asked; nil is none.
	Secrets func(ctx context.Context) ([]PullSecret, error)
	// Right stands for what Secrets gives; empty is none. An image that was pulled with a secret is given without asking the
	// registry only to those that come with a Right by which the registry has given it before.
	Right string
	// Progress is called now and then while the image is on its way, by one goroutine, and not after Pull has returned.
	Progress func(api.PullProgress)
}

// A PullSecret is one image pull secret.
type PullSecret struct {
	Name string
	Data api.SecretData
}
