package node

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

func testSurroundings() surroundings {
	return surroundings{
		placement: api.Placement{PodIdentity: api.PodIdentity{Pod: api.PodRef("shop", "web-1"), UID: "u1"}},
		template: &api.PodTemplate{
			Labels: map[string]string{"app": "web", "app.kubernetes.io/name": "shop"}, Annotations: map[string]string{"team": "till"},
		},
		configs: map[string]api.ConfigData{
			"settings": {Data: map[string]string{"colour": "red", "log.level": "debug", "a=b": "never"}},
		},
		secrets:  map[string]api.SecretData{"login": api.NewSecretData(map[string][]byte{"user": []byte("ann"), "password": []byte("swordfish")})},
		hostname: "web-1", node: "n1", hostIP: "192.0.2.1", podIP: netip.MustParseAddr("10.244.0.2"),
	}
}

func field(path string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
}

func key(name, key string, optional bool) *corev1.EnvVarSource {
	ref := corev1.LocalObjectReference{Name: name}
	return &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref, Key: key, Optional: &optional}}
}

func TestEnv(t *testing.T) {
	c := &corev1.Container{
		EnvFrom: []corev1.EnvFromSource{
			{Prefix: "S_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: new(true)}},
		},
		Env: []corev1.EnvVar{
			{Name: "NAME", ValueFrom: field("metadata.name")},
			{Name: "NAMESPACE", ValueFrom: field("metadata.namespace")},
			{Name: "UID", ValueFrom: field("metadata.uid")},
			{Name: "NODE", ValueFrom: field("spec.nodeName")},
			{Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "HOST_IP", ValueFrom: field("status.hostIP")},
			{Name: "IPS", ValueFrom: field("status.podIPs")},
			{Name: "ACCOUNT", ValueFrom: field("spec.serviceAccountName")},
			{Name: "APP", ValueFrom: field("metadata.labels['app.kubernetes.io/name']")},
			{Name: "TEAM", ValueFrom: field("metadata.annotations['team']")},
			{Name: "NO_LABEL", ValueFrom: field("metadata.labels['none']")},
			{Name: "COLOUR", ValueFrom: key("settings", "colour", false)},
			{Name: "NO_KEY", ValueFrom: key("settings", "none", true)},
			{Name: "NO_MAP", ValueFrom: key("none", "none", true)},
			{Name: "URL", Value: "http://$(NAME).$(NAMESPACE):$(PORT)/$(S_colour)"},
			{Name: "PORT", Value: "80"},
			{Name: "HOSTNAME", Value: "mine"},
			{Name: "ESCAPED", Value: "$$(NAME) costs $5 $"},
		},
	}
	env, err := testSurroundings().env(c)
	if err != nil {
		t.Fatal(err)
	}
	const want = `HOSTNAME=mine
S_colour=red
S_log.level=debug
NAME=web-1
NAMESPACE=shop
UID=u1
NODE=n1
IP=10.244.0.2
HOST_IP=192.0.2.1
IPS=10.244.0.2
ACCOUNT=default
APP=shop
TEAM=till
NO_LABEL=
COLOUR=red
URL=http://web-1.shop:$(PORT)/red
PORT=80
ESCAPED=$(NAME) costs $5 $`
	if got := strings.Join(env.list(), "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := env.expandAll([]string{"serve", "--port=$(PORT)", "$(NONE)"}); strings.Join(got, " ") != "serve --port=80 $(NONE)" {
		t.Errorf("the command became %q", got)
	}
	if env.expandAll(nil) != nil {
		t.Error("a command that is not given became an empty one, which would hide the image's")
	}
}

func secretKey(name, key string, optional bool) *corev1.EnvVarSource {
	ref := corev1.LocalObjectReference{Name: name}
	return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref, Key: key, Optional: &optional}}
}

func TestEnvOfSecrets(t *testing.T) {
	ref := corev1.LocalObjectReference{Name: "login"}
	for want, c := range map[string]*corev1.Container{
		"HOSTNAME=web-1 PASSWORD=swordfish URL=db://swordfish@db": {Env: []corev1.EnvVar{
			{Name: "PASSWORD", ValueFrom: secretKey("login", "password", false)}, {Name: "URL", Value: "db://$(PASSWORD)@db"},
		}},
		"HOSTNAME=web-1 DB_password=swordfish DB_user=ann": {EnvFrom: []corev1.EnvFromSource{
			{Prefix: "DB_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: new(true)}},
		}},
	} {
		env, err := testSurroundings().env(c)
		if err != nil || strings.Join(env.list(), " ") != want || !env.confidential {
			t.Errorf("got %q, %v; want %q", env.list(), err, want)
		}
	}
	env, err := testSurroundings().env(&corev1.Container{Env: []corev1.EnvVar{{Name: "X", ValueFrom: secretKey("login", "none", true)}}})
	if err != nil || env.confidential || len(env.list()) != 1 {
		t.Errorf("of a key that is not there and may be: %q, %v", env.list(), err)
	}
}

func TestEnvSkips(t *testing.T) {
	env, err := testSurroundings().env(&corev1.Container{EnvFrom: []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
	}})
	if err != nil || len(env.skipped) != 1 || env.skipped[0] != "keys a=b of config map settings: no variable can have such a name" {
		t.Errorf("%q, %v", env.skipped, err)
	}
	for name, want := range map[string]bool{"A": true, "a.b-c": true, "1 2": true, "": false, "a=b": false, "a\nb": false, "é": false} {
		if got := isVariableName(name); got != want {
			t.Errorf("%q can be a variable: %v, want %v", name, got, want)
		}
	}
}

func TestServiceLinks(t *testing.T) {
	s := testSurroundings()
	s.routes = api.RouteTable{Routes: []api.Route{
		{Service: api.Ref{Kind: "Service", Namespace: "other", Name: "far"}, ClusterIP: "10.96.0.9", Ports: []api.RoutePort{{Protocol: "TCP", Port: 80}}},
		{Service: api.Ref{Kind: "Service", Namespace: "shop", Name: "headless"}, Ports: []api.RoutePort{{Protocol: "TCP", Port: 80}}},
		{Service: api.Ref{Kind: "Service", Namespace: "shop", Name: "my-db"}, ClusterIP: "10.96.0.1", Ports: []api.RoutePort{
			{Name: "sql-main", Protocol: "TCP", Port: 5432}, {Protocol: "UDP", Port: 53},
		}},
	}}
	c := &corev1.Container{Env: []corev1.EnvVar{{Name: "URL", Value: "$(MY_DB_PORT)/x"}, {Name: "MY_DB_SERVICE_PORT", Value: "mine"}}}
	const want = `HOSTNAME=web-1
URL=tcp://10.96.0.1:5432/x
MY_DB_SERVICE_PORT=mine
MY_DB_SERVICE_HOST=10.96.0.1
MY_DB_SERVICE_PORT_SQL_MAIN=5432
MY_DB_PORT=tcp://10.96.0.1:5432
MY_DB_PORT_5432_TCP=tcp://10.96.0.1:5432
MY_DB_PORT_5432_TCP_PROTO=tcp
MY_DB_PORT_5432_TCP_PORT=5432
MY_DB_PORT_5432_TCP_ADDR=10.96.0.1
MY_DB_PORT_53_UDP=udp://10.96.0.1:53
MY_DB_PORT_53_UDP_PROTO=udp
MY_DB_PORT_53_UDP_PORT=53
MY_DB_PORT_53_UDP_ADDR=10.96.0.1`
	env, err := s.env(c)
	if got := strings.Join(env.list(), "\n"); err != nil || got != want {
		t.Errorf("got, with error %v:\n%s\nwant:\n%s", err, got, want)
	}
	s.template.Spec.EnableServiceLinks = new(false)
	if env, err = s.env(c); err != nil || strings.Contains(strings.Join(env.list(), " "), "SERVICE_HOST") || env.values["URL"] != "$(MY_DB_PORT)/x" {
		t.Errorf("without links: %q, %v", env.list(), err)
	}
}

func TestEnvRefuses(t *testing.T) {
	for want, v := range map[string]*corev1.EnvVarSource{
		"config map settings has no key color; it has a=b, colour, log.level":             key("settings", "color", false),
		"there is no config map none in namespace shop":                                   key("none", "x", false),
		`fieldPath "spec.secret" is not one of`:                                           field("spec.secret"),
		"only fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef are supported": {},
	} {
		_, err := testSurroundings().env(&corev1.Container{Env: []corev1.EnvVar{{Name: "X", ValueFrom: v}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "variable X: ") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	whole := corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}}}
	if _, err := testSurroundings().env(&corev1.Container{EnvFrom: []corev1.EnvFromSource{whole}}); err == nil {
		t.Error("a config map that is not there was taken for an empty one")
	}
}

// expandSlowly is another way to say what expand does, character by character as Kubernetes has it.
func expandSlowly(s string, values map[string]string) string {
	out := ""
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			out += s[i : i+1]
			continue
		}
		switch s[i+1] {
		case '$':
			out += "$"
			i++
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if end < 0 {
				out += "$"
				continue
			}
			name := s[i+2 : i+end]
			if value, found := values[name]; found {
				out += value
			} else {
				out += s[i : i+end+1]
			}
			i += end
		default:
			out += "$"
		}
	}
	return out
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "$", "$$", "$(A)", "$$(A)", "$(", "$(A", "$(A$(B))", "$()", "a$(A)b$(B)c", "$$$(A)", "$(A)$", "$x"} {
		f.Add(s, "A", "1$(B)")
	}
	f.Fuzz(func(t *testing.T, s, name, value string) {
		values := map[string]string{name: value, "B": "two"}
		e := &environment{values: values}
		if got, want := e.expand(s), expandSlowly(s, values); got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	})
}

func TestTailShowsOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "one": "one", "one\ntwo\n\n": "two", "\x1b[31mred\n": "[31mred", "bad \xff byte": "bad ? byte",
	} {
		var end tail
		for _, b := range []byte(in) {
			if _, err := end.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if got := end.lastLine(); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	var end tail
	if _, err := end.Write([]byte(strings.Repeat("x", 10*tailSize))); err != nil || len(end.data) != tailSize {
		t.Errorf("%d bytes are kept, error %v", len(end.data), err)
	}
}

func TestValidName(t *testing.T) {
	for _, name := range []string{"u1", "web-1.abc", "0123abcd"} {
		if !validName(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc", ".hidden", strings.Repeat("x", 256)} {
		if validName(name) {
			t.Errorf("%q is taken", name)
		}
	}
}
