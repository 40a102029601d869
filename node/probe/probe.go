// Package probe asks containers how they are: one attempt at a time, by HTTP, TCP or gRPC, with a new connection for each.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	// maxBody is how much of an answer is read: some servers log an error when nobody reads what they say.
	maxBody = 10 << 10
	// maxRedirects on one host are more than a health check needs.
	maxRedirects = 10
	// maxShown is how much of a failure's answer is worth showing.
	maxShown = 200
)

// A Prober makes probes over the machine's network.
type Prober struct{ client *http.Client }

// New makes a prober.
func New() *Prober {
	return &Prober{client: &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:  true, // an open connection would hide that no new one can be made
			DisableCompression: true,
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // the pod is asked how it is, not who it is
		},
		CheckRedirect: stayOnHost,
	}}
}

// stayOnHost follows no redirect to elsewhere: the answer of another host says nothing about this one.
func stayOnHost(r *http.Request, via []*http.Request) error {
	if r.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// Probe makes one attempt, within ctx; nil is success. Ports by name are looked up among the container's.
func (p *Prober) Probe(ctx context.Context, handler corev1.ProbeHandler, ip netip.Addr, ports []corev1.ContainerPort) error {
	switch {
	case handler.HTTPGet != nil:
		return p.http(ctx, *handler.HTTPGet, ip, ports)
	case handler.TCPSocket != nil:
		return tcp(ctx, *handler.TCPSocket, ip, ports)
	case handler.GRPC != nil:
		return serves(ctx, *handler.GRPC, ip)
	}
	return errors.New("only httpGet, tcpSocket and grpc can be asked over the network")
}

func (p *Prober) http(ctx context.Context, get corev1.HTTPGetAction, ip netip.Addr, ports []corev1.ContainerPort) error {
	address, err := addressOf(get.Host, get.Port, ip, ports)
	if err != nil {
		return err
	}
	target, err := url.Parse(get.Path)
	if err != nil {
		return fmt.Errorf("the path of the probe: %w", err)
	}
	target.Scheme, target.Host, target.User = "http", address, nil
	if get.Scheme != "" {
		target.Scheme = strings.ToLower(string(get.Scheme))
	}
	if !strings.HasPrefix(target.Path, "/") {
		target.Path = "/" + target.Path
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "headway-probe")
	r.Header.Set("Accept", "*/*")
	for _, h := range get.HTTPHeaders {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			r.Host = h.Value
			continue
		}
		r.Header.Set(h.Name, h.Value)
	}
	response, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if response.StatusCode >= http.StatusOK && response.StatusCode < http.StatusBadRequest {
		return nil
	}
	if err != nil {
		return fmt.Errorf("GET %s: %s: %w", target, response.Status, err)
	}
	return fmt.Errorf("GET %s: %s%s", target, response.Status, shown(body))
}

// shown is the start of an answer, fit for one line.
func shown(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "?")), " ")
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	if text == "" {
		return ""
	}
	return ": " + text
}

func tcp(ctx context.Context, socket corev1.TCPSocketAction, ip netip.Addr, ports []corev1.ContainerPort) error {
	address, err := addressOf(socket.Host, socket.Port, ip, ports)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// addressOf is where a probe goes: to the pod, unless it names a host.
func addressOf(host string, port intstr.IntOrString, ip netip.Addr, ports []corev1.ContainerPort) (string, error) {
	number, err := portNumber(port, ports)
	if err != nil {
		return "", err
	}
	if host == "" {
		host = ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}

func portNumber(port intstr.IntOrString, ports []corev1.ContainerPort) (int, error) {
	if port.Type == intstr.Int {
		if port.IntVal < 1 || port.IntVal > 65535 {
			return 0, fmt.Errorf("the probe's port %d is not between 1 and 65535", port.IntVal)
		}
		return int(port.IntVal), nil
	}
	names := make([]string, 0, len(ports))
	for _, p := range ports {
		if p.Name == port.StrVal {
			return int(p.ContainerPort), nil
		}
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	// Kubernetes takes a number in quotes for a number.
	if n, err := strconv.Atoi(port.StrVal); err == nil && n >= 1 && n <= 65535 {
		return n, nil
	}
	return 0, fmt.Errorf("the probe's port %q is none of the container's: they are named %q", port.StrVal, names)
}
