package ingress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
)

// pair makes what a secret of type kubernetes.io/tls holds, for one name.
func pair(t *testing.T, name string, serial int64) api.SecretData {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return api.NewSecretData(map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	})
}

func secret(name string) api.Ref { return api.Ref{Kind: "Secret", Namespace: "shop", Name: name} }

// told is what a proxy reports.
type told chan string

func (c told) report(kind string, ref api.Ref, reason string, _ bool) {
	c <- kind + " " + ref.String() + ": " + reason
}

// run runs the proxy for as long as the test.
func run(t *testing.T, p *Proxy) told {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, done := make(told, 16), make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx, c.report)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return c
}

// connect waits until something listens at an address.
func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// handshake gives the name and serial number of the certificate that is shown to who asks for a host.
func handshake(t *testing.T, address, host string) (string, int64, error) {
	t.Helper()
	conn := tls.Client(connect(t, address), &tls.Config{ServerName: host, InsecureSkipVerify: true}) //nolint:gosec // the certificate is what is looked at
	defer conn.Close()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		return "", 0, err
	}
	shown := conn.ConnectionState().PeerCertificates[0]
	return shown.Subject.CommonName, shown.SerialNumber.Int64(), nil
}

func TestCertificates(t *testing.T) {
	at := dead(t)
	p, err := New(Options{Node: "n1", HTTPS: at})
	if err != nil {
		t.Fatal(err)
	}
	ingress := api.Ref{Kind: "Ingress", Namespace: "shop", Name: "front"}
	rules := everything()
	rules.TLS = []api.IngressTLS{
		{Host: "*.shop.example", Ingress: ingress, Secret: secret("wild")},
		{Host: "bad.example", Ingress: ingress, Secret: secret("bad")},
		{Host: "gone.example", Ingress: ingress, Secret: secret("gone")},
		{Host: "shop.example", Ingress: ingress, Secret: secret("own")},
	}
	secrets := map[api.Ref]api.SecretData{
		secret("wild"): pair(t, "wild", 1), secret("own"): pair(t, "own", 1),
		secret("bad"): api.NewSecretData(map[string][]byte{"tls.crt": []byte("nothing"), "tls.key": []byte("hush")}),
	}
	c := run(t, p)
	p.SetRules(rules, secrets)
	for _, want := range []struct{ host, name string }{{"shop.example", "own"}, {"SHOP.example", "own"}, {"a.shop.example", "wild"}} {
		if name, _, err := handshake(t, at, want.host); name != want.name {
			t.Errorf("%s: %q, %v", want.host, name, err)
		}
	}
	for _, host := range []string{"gone.example", "bad.example", "gone.example", "unknown.example", "a.b.shop.example", ""} {
		if name, _, err := handshake(t, at, host); err == nil {
			t.Errorf("%q is shown %s", host, name)
		}
	}
	for _, want := range []string{
		"CertificateMissing Ingress/shop/front: HTTPS for gone.example is refused: Secret/shop/gone is not in force, or lacks tls.crt or tls.key",
		"CertificateMissing Ingress/shop/front: HTTPS for bad.example is refused: Secret/shop/bad holds no certificate and the key to it: tls: failed to find any PEM data in certificate input",
	} {
		if got := <-c; got != want {
			t.Errorf("told %s\nwant %s", got, want)
		}
	}
	if len(c) > 0 {
		t.Errorf("told more than once: %s", <-c)
	}
	if old, err := tls.Dial("tcp", at, &tls.Config{ServerName: "shop.example", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil { //nolint:gosec // it is to be refused
		t.Errorf("TLS %x is spoken", old.ConnectionState().Version)
		old.Close()
	}

	// A connection outlives its certificate; the next has the new one.
	backend := serve(t, func(http.ResponseWriter, *http.Request) {})
	(&front{T: t, Proxy: p}).route(backend.URL)
	dials := 0
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{ServerName: "shop.example", InsecureSkipVerify: true}, //nolint:gosec // as above
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			dials++
			return new(net.Dialer).DialContext(ctx, network, at)
		},
	}
	defer transport.CloseIdleConnections()
	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "https://shop.example/", nil).WithContext(t.Context())
		answer, err := transport.RoundTrip(r)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatal(answer, err)
		}
		answer.Body.Close()
		secrets[secret("own")] = pair(t, "own", 2)
		p.SetRules(rules, secrets)
	}
	if _, serial, err := handshake(t, at, "shop.example"); serial != 2 || dials != 1 {
		t.Errorf("certificate %d, %v; %d connections", serial, err, dials)
	}
	p.SetRoutes(t.Context(), api.RouteTable{})
}

func TestRedirects(t *testing.T) {
	rules := everything()
	rules.Hosts[0].Paths[0].ToHTTPS = true
	rules.TLS = []api.IngressTLS{{Host: "shop.example", Secret: secret("own")}, {Host: "gone.example", Secret: secret("gone")}}
	f := open(t, rules)
	f.SetRules(rules, map[api.Ref]api.SecretData{secret("own"): pair(t, "own", 1)})
	f.route(serve(t, func(http.ResponseWriter, *http.Request) {}).URL)
	for host, want := range map[string]int{"shop.example": 308, "gone.example": 200, "other.example": 200} {
		got := f.do("POST", "/a?b=c", "", func(r *http.Request) { r.Host = host })
		if got.status != want || want == 308 && got.header.Get("Location") != "https://shop.example/a?b=c" {
			t.Errorf("%s: %d to %s", host, got.status, got.header.Get("Location"))
		}
	}
}

// TestListensOnlyForRules has a port be taken, and freed; and rules come and go.
func TestListensOnlyForRules(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	p, err := New(Options{Node: "n1", HTTP: at})
	if err != nil {
		t.Fatal(err)
	}
	c := run(t, p)
	p.SetRules(everything(), nil)
	got := <-c
	if want := "IngressFailed Node/n1: HTTP from outside is not served at " + at; !strings.HasPrefix(got, want) || !strings.Contains(got, "address already in use") || !strings.Contains(got, "--ingress-http") {
		t.Errorf("told %s", got)
	}
	l.Close()
	if got, want := <-c, "IngressServed Node/n1: HTTP from outside is served at "+at+" again"; got != want {
		t.Errorf("told %s", got)
	}
	connect(t, at).Close()
	p.SetRules(api.IngressRules{}, nil)
	deadline := time.After(20 * time.Second)
	for {
		again, err := net.Listen("tcp", at)
		if err == nil {
			again.Close()
			return
		}
		select {
		case <-deadline:
			t.Fatalf("it still listens without rules: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestAddressesAreChecked(t *testing.T) {
	if _, err := New(Options{HTTP: "80"}); err == nil || !strings.Contains(err.Error(), ":80") {
		t.Errorf("%v", err)
	}
}
