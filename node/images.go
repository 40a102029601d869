package node

import (
	"context"
	"fmt"

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
	Secrets func(ctx context.Context) ([]api.SecretData, error)
	// Progress is called now and then while the image is on its way, by one goroutine, and not after Pull has returned.
	Progress func(PullProgress)
}

// PullProgress is how far a download is.
type PullProgress struct {
	Done, Total int64 // bytes of layers, compressed; Total is 0 until it is known
}

// String is what a pod's status says of it.
func (p PullProgress) String() string {
	if p.Total == 0 {
		return "pulling"
	}
	const mib = 1 << 20
	return fmt.Sprintf("pulling: %d of %d MiB", p.Done/mib, (p.Total+mib-1)/mib)
}
