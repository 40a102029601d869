package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// Ingress lets HTTP from outside in to services.
type Ingress interface {
	// Run takes requests as long as there are rules, until ctx is done. It says by report what happened to what, and why.
	Run(ctx context.Context, report func(kind string, ref api.Ref, reason string, warning bool)) error
	// SetRoutes has requests go to the endpoints of these routes. When it returns, no new one goes to any other.
	SetRoutes(ctx context.Context, table api.RouteTable)
	// SetRules has requests served by these rules, with the certificates that the secrets hold.
	SetRules(rules api.IngressRules, secrets map[api.Ref]api.SecretData)
}

// runIngress serves HTTP from outside until ctx is done, by the newest assignment that says anything of it.
func (a *Agent) runIngress(ctx context.Context) {
	if a.config.Ingress == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := a.config.Ingress.Run(ctx, func(kind string, ref api.Ref, reason string, warning bool) {
			a.event(kind, ref, reason, "", severity(warning))
		})
		if ctx.Err() == nil {
			a.log.Error("HTTP from outside is not served any more", "error", err)
		}
	}()
	a.ingress.each(ctx, a.applyIngress, a.failed("serve HTTP from outside"))
	<-done
}

// takeIngress takes up what an assignment says of HTTP from outside. One that says nothing leaves it as it was before.
func (a *Agent) takeIngress(last, next *api.Assignment) {
	if next.Ingress == nil && last != nil {
		next.Ingress = last.Ingress
	}
	if next.Ingress != nil && (last == nil || !reflect.DeepEqual(last.Ingress, next.Ingress)) {
		a.ingress.put(*next.Ingress)
	}
}

// applyIngress serves by other rules. A certificate that cannot be had keeps only its own hosts from being served with it.
func (a *Agent) applyIngress(ctx context.Context, next api.IngressAssignment) error {
	var rules api.IngressRules
	if next.Rules != "" {
		data, err := a.blobs.get(ctx, next.Rules)
		if err != nil {
			return fmt.Errorf("rules (%s): %w", next.Rules.Short(), err)
		}
		if err := json.Unmarshal(data, &rules); err != nil {
			return fmt.Errorf("rules (%s): %w", next.Rules.Short(), err)
		}
	}
	secrets := map[api.Ref]api.SecretData{}
	var failed []error
	for _, c := range next.Certificates {
		data, err := a.openCertificate(ctx, c)
		if err != nil {
			failed = append(failed, fmt.Errorf("certificate in %s: %w", c.Secret, err))
			continue
		}
		secrets[c.Secret] = data
	}
	a.config.Ingress.SetRules(rules, secrets)
	return errors.Join(failed...)
}

// openCertificate opens what is sealed to this node. It is kept in memory alone.
func (a *Agent) openCertificate(ctx context.Context, c api.SealedCertificate) (api.SecretData, error) {
	if a.config.Secrets == nil {
		return api.SecretData{}, errors.New("this node has no key to open it with")
	}
	sealed, err := a.blobs.get(ctx, c.Sealed)
	if err != nil {
		return api.SecretData{}, err
	}
	plain, err := a.config.Secrets.Open(sealed)
	if err != nil {
		return api.SecretData{}, err
	}
	var contents api.SecretContents
	if json.Unmarshal(plain, &contents) != nil { // whose error could show some of it
		return api.SecretData{}, errors.New("it is not in a form that this version knows")
	}
	data := contents[c.Secret.Name]
	if len(data[corev1.TLSCertKey]) == 0 {
		return api.SecretData{}, errors.New("it holds no " + corev1.TLSCertKey)
	}
	return api.NewSecretData(data), nil
}

// ingressBlobs are the blobs that HTTP from outside needs. The agent is locked.
func (a *Agent) ingressBlobs() []api.Digest {
	if a.assignment == nil || a.assignment.Ingress == nil {
		return nil
	}
	used := []api.Digest{a.assignment.Ingress.Rules}
	for _, c := range a.assignment.Ingress.Certificates {
		used = append(used, c.Sealed)
	}
	return used
}
