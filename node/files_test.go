package node_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
	"headway.dev/headway/node/fakehost"
)

// reversed opens what is written backwards.
type reversed struct{}

func (reversed) Open(sealed []byte) ([]byte, error) {
	plain := slices.Clone(sealed)
	slices.Reverse(plain)
	return plain, nil
}

// TestSecretsStayOffTheDisk has a container with a secret in its environment, and looks for it in all that the agent wrote and
// said.
func TestSecretsStayOffTheDisk(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		spec := simple("web")
		spec.Secrets = map[string]api.Digest{"login": "fingerprint"}
		ref := corev1.LocalObjectReference{Name: "login"}
		spec.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref, Key: "password"},
		}}}
		w.template("web", spec, nil)
		w.start()
		w.assign(1, 1, "c1", "a:web")
		pass(time.Second)
		if got := w.statusText(false); !strings.Contains(got, "the controller has sealed none for it") {
			w.Errorf("without what is sealed:\n%s", got)
		}
		plain := []byte(`{"login": {"password": "c3dvcmRmaXNo"}}`) // swordfish
		slices.Reverse(plain)
		a := *w.bus.assignment
		a.Sequence, a.Pods = 2, slices.Clone(a.Pods)
		a.Pods[0].Sealed = w.bus.put(plain)
		w.bus.change(func() { w.bus.assignment = &a })
		pass(time.Minute)
		if got := w.statusText(false); !strings.Contains(got, "a Running ready") {
			w.Errorf("with what is sealed:\n%s", got)
		}
		err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			for _, word := range []string{"swordfish", "c3dvcmRmaXNo"} {
				if bytes.Contains(data, []byte(word)) {
					w.Errorf("%s is in %s", word, path)
				}
			}
			return err
		})
		if err != nil {
			w.Error(err)
		}
		// A new controller seals anew, to a blob that may be gone again: the one on disk will do.
		a.Sequence, a.Pods = 3, slices.Clone(a.Pods)
		a.Pods[0].Sealed = "0123"
		w.bus.change(func() { w.bus.assignment = &a })
		pass(time.Minute)
		w.start()
		pass(time.Minute)
		if got := w.statusText(false); !strings.Contains(got, "a Running ready") {
			w.Errorf("sealed anew:\n%s", got)
		}
	})
}

// TestEtc looks at the files under /etc of pods of every DNS policy.
func TestEtc(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		one := simple("one")
		one.Spec.Subdomain, one.Spec.SetHostnameAsFQDN = "nodes", new(true)
		one.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.7", Hostnames: []string{"old", "older"}}}
		one.Spec.DNSPolicy, one.Spec.DNSConfig = corev1.DNSNone, &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.8"}, Searches: []string{"example"}}
		two := simple("two")
		two.Spec.HostNetwork, two.Spec.DNSPolicy = true, corev1.DNSClusterFirstWithHostNet
		three := simple("three")
		three.Spec.Subdomain, three.Spec.SetHostnameAsFQDN = strings.Repeat("x", 60), new(true)
		w.template("one", one, nil)
		w.template("two", two, nil)
		w.template("three", three, nil)
		w.start()
		w.assign(1, 1, "c1", "a:one", "b:two", "c:three")
		pass(time.Second)
		machine, err := os.Hostname()
		if err != nil {
			w.Fatal(err)
		}
		for path, want := range map[string]string{
			"u-a/etc/hosts": "# Kept by headway.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
				"10.244.0.2\ta.nodes.shop.svc.cluster.local\ta\n\n# From hostAliases.\n192.0.2.7\told\tolder\n",
			"u-a/etc/hostname":    "a.nodes.shop.svc.cluster.local\n",
			"u-a/etc/resolv.conf": "nameserver 192.0.2.8\nsearch example\n",
			"u-b/etc/hostname":    machine + "\n",
			"u-b/etc/resolv.conf": "nameserver 10.244.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:1\n",
		} {
			got, err := os.ReadFile(filepath.Join(w.dir, "pods", path))
			if path == "u-a/etc/hosts" {
				got = []byte(strings.NewReplacer("10.244.0.3", "10.244.0.2", "10.244.0.4", "10.244.0.2").Replace(string(got)))
			}
			if err != nil || string(got) != want {
				w.Errorf("%s, %v:\n%swant:\n%s", path, err, got, want)
			}
		}
		for _, p := range w.bus.lastStatus().Pods {
			switch p.Placement.Pod.Name {
			case "b":
				if p.IP != "192.0.2.1" {
					w.Errorf("on the machine's network, its address is %s", p.IP)
				}
			case "c":
				if !strings.Contains(p.Message, "shorten the pod's hostname or subdomain") {
					w.Errorf("of too long a name it says %q", p.Message)
				}
			}
		}
	})
}

// TestStorageLimits evicts a pod that writes too much, and none beside it.
func TestStorageLimits(t *testing.T) {
	bubble(t, fakehost.Options{}, func(w *world) {
		small := simple("small")
		limit := resource.MustParse("1Mi")
		small.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}}}}
		limited := simple("limited")
		limited.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: limit}
		w.template("small", small, nil)
		w.template("limited", limited, nil)
		w.start()
		w.assign(1, 1, "c1", "a:small", "b:limited", "c:small")
		pass(time.Minute)
		w.host.SetUsage("u-a", "tmp", 1<<20+1)
		w.host.SetUsage("u-b", "web", 2<<20)
		w.host.SetUsage("u-c", "tmp", 1<<20)
		pass(time.Minute)
		for _, want := range []string{
			"a Failed: Evicted: emptyDir volume tmp holds 1048577, more than its sizeLimit 1Mi\n",
			"b Failed: Evicted: container web has written 2Mi, more than its limit of ephemeral-storage 1Mi\n",
			"c Running ready\n",
		} {
			if got := w.statusText(false); !strings.Contains(got, want) {
				w.Errorf("it is not %q:\n%s", want, got)
			}
		}
		w.start()
		pass(time.Minute)
		if got := w.statusText(false); !strings.Contains(got, "a Failed: Evicted") {
			w.Errorf("after a restart of the daemon:\n%s", got)
		}
	})
}
