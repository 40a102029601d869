package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
)

// Kubernetes' reasons for an image that is not there.
const (
	reasonPull  = "ErrImagePull"
	reasonNever = "ErrImageNeverPull"
	reasonName  = "InvalidImageName"
)

// An image is what containers need to know of one that is unpacked. It does not change, but for the users, which are
// read when the first container is made from it.
type image struct {
	name         string
	digest       digest.Digest // what the name stands for: a manifest, or an index of them
	chainID      string        // the snapshot that containers stand on
	architecture string
	config       ocispec.ImageConfig
	users        *userFiles
}

// imageCache holds images by name.
type imageCache struct {
	mu     sync.Mutex
	byName map[string]*image
}

func newImageCache() *imageCache { return &imageCache{byName: map[string]*image{}} }

func (c *imageCache) get(name string) *image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byName[name]
}

func (c *imageCache) put(i *image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byName[i.name] = i
}

func (c *imageCache) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, name)
}

// normalise gives an image's whole name, as Docker reads it: nginx is docker.io/library/nginx:latest.
func normalise(name string) (string, error) {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return "", &node.ImageError{Image: name, Reason: reasonName, Err: err}
	}
	return ref.String(), nil
}

// Ensure has the image unpacked on the machine and returns the digest that its name stands for. What is not there is
// imported from the image directory, or else pulled. Always asks the registry even for what is there, except for an
// image that the image directory has: then the archive is what is newest.
func (r *Runtime) Ensure(ctx context.Context, ref string, policy corev1.PullPolicy) (string, error) {
	return r.Pull(ctx, node.PullRequest{Image: ref, Policy: policy})
}

// Pull is Ensure with the pod's own credentials, and tells how far it is. An image that came by a secret is a pod's only after
// the registry has once given it for what the pod shows.
func (r *Runtime) Pull(ctx context.Context, request node.PullRequest) (string, error) {
	name, err := normalise(request.Image)
	if err != nil {
		return "", err
	}
	ctx = r.scope(ctx)
	end, err := r.uses.begin(ctx, name)
	if err != nil {
		return "", fmt.Errorf("image %s is being removed: %w", name, err)
	}
	defer end()
	policy := request.Policy
	if policy != corev1.PullAlways {
		switch i, record, err := r.look(ctx, name); {
		case errdefs.IsNotFound(err):
		case err != nil:
			return "", fmt.Errorf("look for image %s: %w", name, err)
		case mayUse(record, request.Right):
			return i.digest.String(), nil
		case policy == corev1.PullNever:
			return "", &node.ImageError{Image: name, Reason: reasonNever, Err: errOthers}
		default:
			policy = corev1.PullAlways
		}
	}
	i, err := r.bring(ctx, name, policy, request)
	if err != nil {
		return "", imageError(name, err)
	}
	return i.digest.String(), nil
}

// bring has an image brought here, together with all who want it by the same policy and show the same.
func (r *Runtime) bring(ctx context.Context, name string, policy corev1.PullPolicy, request node.PullRequest) (*image, error) {
	credentials, err := r.credentialsFor(ctx, name, request.Secrets)
	if err != nil {
		return nil, err
	}
	key := string(policy) + " " + name + fingerprint(credentials)
	i, err := r.pulls.do(ctx, key, request.Progress, func(ctx context.Context, p *progress) (*image, error) {
		return r.fetch(ctx, name, policy, credentials, p)
	})
	if err != nil {
		return nil, err
	}
	record, err := r.client.ImageService().Get(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case mayUse(record, request.Right):
		return i, nil
	case policy == corev1.PullAlways && request.Right != "":
		return i, r.grant(ctx, name, i.digest, rightLabel(request.Right))
	case policy == corev1.PullAlways:
		return i, nil
	case policy == corev1.PullNever:
		return nil, &node.ImageError{Image: name, Reason: reasonNever, Err: errOthers}
	}
	// It came meanwhile, for another pod.
	return r.bring(ctx, name, corev1.PullAlways, request)
}

// credentialsFor are the pod's own credentials for an image, and then the node's.
func (r *Runtime) credentialsFor(ctx context.Context, name string, secrets func(context.Context) ([]node.PullSecret, error)) ([]credential, error) {
	var own []credential
	if secrets != nil {
		data, err := secrets(ctx)
		if err != nil {
			return nil, fmt.Errorf("its image pull secrets: %w", err)
		}
		if own, err = secretCredentials(data); err != nil {
			return nil, err
		}
	}
	machine, err := fileCredentials(r.options.CredentialsFile)
	if err != nil {
		return nil, err
	}
	return forRepository(append(own, machine...), name), nil
}

// fingerprint tells credentials apart; it is empty for none.
func fingerprint(all []credential) string {
	if len(all) == 0 {
		return ""
	}
	h := sha256.New()
	for _, c := range all {
		for _, part := range []string{c.pattern, c.user, c.secret} {
			fmt.Fprintf(h, "%d:%s", len(part), part)
		}
	}
	return " " + hex.EncodeToString(h.Sum(nil))
}

func imageError(name string, err error) error {
	var known *node.ImageError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, errClosed):
		return fmt.Errorf("image %s: %w", name, err)
	}
	return &node.ImageError{Image: name, Reason: reasonPull, Err: inWords(err)}
}

// present finds an image that is here and unpacked. The error is a not-found where it is not.
func (r *Runtime) present(ctx context.Context, name string) (*image, error) {
	i, _, err := r.look(ctx, name)
	return i, err
}

// look is present, with containerd's record. It costs two small calls for an image that was seen before.
func (r *Runtime) look(ctx context.Context, name string) (*image, images.Image, error) {
	record, err := r.client.ImageService().Get(ctx, name)
	if err != nil {
		return nil, record, err
	}
	i := r.images.get(name)
	if i == nil || i.digest != record.Target.Digest {
		if i, err = r.read(ctx, record); err != nil {
			return nil, record, err
		}
	}
	if _, err := r.client.SnapshotService(r.options.Snapshotter).Stat(ctx, i.chainID); err != nil {
		r.images.drop(name)
		return nil, record, err
	}
	r.images.put(i)
	return i, record, nil
}

// read reads an image's configuration from the content store.
func (r *Runtime) read(ctx context.Context, record images.Image) (*image, error) {
	known := client.NewImage(r.client, record)
	config, err := known.Config(ctx)
	if err != nil {
		return nil, err
	}
	if config.Size > maxMetadata {
		return nil, fmt.Errorf("the image's configuration has %d bytes: at most %d are taken", config.Size, maxMetadata)
	}
	spec, err := known.Spec(ctx)
	if err != nil {
		return nil, err
	}
	return &image{
		name: record.Name, digest: record.Target.Digest, chainID: identity.ChainID(spec.RootFS.DiffIDs).String(),
		architecture: spec.Architecture, config: spec.Config, users: new(userFiles),
	}, nil
}

// fetch brings an image to the machine by whatever way there is.
func (r *Runtime) fetch(ctx context.Context, name string, policy corev1.PullPolicy, credentials []credential, p *progress) (*image, error) {
	if policy != corev1.PullAlways {
		// It may have come while this call waited, or lie there packed.
		if i, err := r.unpack(ctx, name); err == nil || !errdefs.IsNotFound(err) {
			return i, err
		}
	}
	switch found, err := r.importArchive(ctx, name); {
	case err != nil:
		return nil, err
	case found:
		return r.unpack(ctx, name)
	case policy == corev1.PullNever:
		return nil, &node.ImageError{Image: name, Reason: reasonNever, Err: errors.New("it is not on this machine, and its pull policy is Never")}
	}
	if err := r.pull(ctx, name, credentials, p); err != nil {
		return nil, err
	}
	return r.present(ctx, name)
}

// unpack finds an image that is here and unpacks it if it is not yet.
func (r *Runtime) unpack(ctx context.Context, name string) (*image, error) {
	if i, err := r.present(ctx, name); err == nil || !errdefs.IsNotFound(err) {
		return i, err
	}
	record, err := r.client.ImageService().Get(ctx, name)
	if err != nil {
		return nil, err
	}
	err = r.leased(ctx, func(ctx context.Context) error {
		return client.NewImage(r.client, record).Unpack(ctx, r.options.Snapshotter)
	})
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return r.present(ctx, name)
}

// image finds the image of a container that is made: what Ensure has found, without asking containerd again.
func (r *Runtime) image(ctx context.Context, ref string) (*image, error) {
	name, err := normalise(ref)
	if err != nil {
		return nil, err
	}
	if i := r.images.get(name); i != nil {
		return i, nil
	}
	i, err := r.present(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, &node.ImageError{Image: name, Reason: reasonPull, Err: errors.New("it is not on this machine: it has to be brought here first")}
	} else if err != nil {
		return nil, fmt.Errorf("look for image %s: %w", name, err)
	}
	return i, nil
}
