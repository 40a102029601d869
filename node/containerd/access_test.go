package containerd

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/internal/testimage"
	"headway.dev/headway/node"
)

// TestPrivateImage has pods with and without the right ask for an image that one of them brought by its secret.
func TestPrivateImage(t *testing.T) {
	const password = "correct-horse"
	registry := testimage.Serve(t)
	registry.Push(t, "team/app:1", small(t, "one"))
	host := guarded(t, registry, password)
	h := newHost(t)
	name := host + "/team/app:1"
	pull := func(policy corev1.PullPolicy, right string, secrets ...string) error {
		_, err := h.Pull(h.context(), node.PullRequest{Image: name, Policy: policy, Secrets: pullSecrets(secrets...), Right: right})
		return err
	}
	refused := func(what string, err error, reason string) {
		t.Helper()
		if image, ok := errors.AsType[*node.ImageError](err); !ok || image.Reason != reason || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v, want %s", what, err, reason)
		}
	}
	good := dockerConfig(host, "robot", password)
	if err := pull(corev1.PullIfNotPresent, "shop", good); err != nil {
		t.Fatal(err)
	}
	refused("nobody", pull(corev1.PullIfNotPresent, ""), "ErrImagePull")
	refused("nobody, who asks no registry", pull(corev1.PullNever, ""), "ErrImageNeverPull")
	refused("a wrong secret", pull(corev1.PullIfNotPresent, "bank", dockerConfig(host, "robot", "wrong")), "ErrImagePull")
	registry.Requests()
	for _, policy := range []corev1.PullPolicy{corev1.PullIfNotPresent, corev1.PullNever} {
		if err := pull(policy, "shop", good); err != nil {
			t.Errorf("the one that brought it, with %s: %v", policy, err)
		}
	}
	if asked := registry.Requests(); len(asked) > 0 {
		t.Errorf("for one that has shown its right the registry was asked %v", asked)
	}
	if err := pull(corev1.PullIfNotPresent, "bank", good); err != nil {
		t.Errorf("another one with the same secret: %v", err)
	}
	for _, right := range []string{"bank", "shop"} {
		if err := pull(corev1.PullNever, right); err != nil {
			t.Errorf("%s, whose right was asked before: %v", right, err)
		}
	}
	// A new daemon remembers, and neither labels nor names say anything of the secret.
	again := h.open(t, h.options)
	if _, err := again.Pull(h.context(), node.PullRequest{Image: name, Policy: corev1.PullNever, Right: "bank"}); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	record, err := h.client.ImageService().Get(h.scope(h.context()), name)
	if err != nil {
		t.Fatal(err)
	}
	labels := []string{}
	for label := range record.Labels {
		labels = append(labels, label)
	}
	slices.Sort(labels)
	if want := []string{"headway.dev/image", "headway.dev/private", "headway.dev/right.bank", "headway.dev/right.shop"}; !slices.Equal(labels, want) {
		t.Errorf("labels %v, want %v", labels, want)
	}
	// Another image of that name has been given to nobody yet.
	registry.Push(t, "team/app:1", small(t, "two"))
	if err := pull(corev1.PullAlways, "shop", good); err != nil {
		t.Error(err)
	}
	refused("an earlier right", pull(corev1.PullNever, "bank"), "ErrImageNeverPull")
}

// TestNodeCredentialsAreForAll leaves to every pod what came by the node's own credentials, or without any.
func TestNodeCredentialsAreForAll(t *testing.T) {
	registry := testimage.Serve(t)
	name := registry.Push(t, "team/app:1", small(t, "one"))
	h := newHost(t)
	secret := dockerConfig("registry.example", "robot", "unused")
	if _, err := h.Pull(h.context(), node.PullRequest{Image: name, Secrets: pullSecrets(secret), Right: "shop"}); err != nil {
		t.Fatal(err)
	}
	h.ensure(name, corev1.PullNever)
}

// TestMostExactCredentialFirst orders what Kubernetes orders so.
func TestMostExactCredentialFirst(t *testing.T) {
	secrets, err := pullSecrets(
		`{"auths": {"*.example": {"auth": "YTpi"}, "registry.example": {"auth": "Yzpk"}}}`,
		`{"auths": {"registry.example/team": {"auth": "ZTpm"}, "*.example/team/app": {"auth": "Zzpo"}}}`,
		`{"auths": {"https://registry.example/v1/": {"auth": "aTpq"}}}`,
	)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := secretCredentials(secrets)
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, c := range forRepository(all, "registry.example/team/app:1") {
		users = append(users, c.user)
	}
	if want := []string{"e", "c", "i", "g", "a"}; !slices.Equal(users, want) {
		t.Errorf("tried in the order %v, want %v", users, want)
	}
}
