package conformance

import (
	"encoding/json"
	"strings"
	"testing"

	"headway.dev/headway/api"
)

// SurroundingsCases are what is asked of an agent with real volumes: what it gives to pods of what is around them. The host IP,
// the domain and the secrets' key of the machine are the cases' own.
func SurroundingsCases() []PodCase {
	var cases []PodCase
	for _, c := range []struct {
		name string
		test func(*stage)
	}{
		{"ConfigMap should be consumable via environment variable", envOfConfigMap},
		{"Secrets should be consumable via the environment", envOfSecret},
		{"Downward API should provide pod name and namespace and IP address as env vars", envOfFields},
		{"Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars", envOfResources},
		{"Downward API should provide default limits.cpu/memory from node allocatable", envOfAllocatable},
		{"Variable Expansion should allow substituting values in a container's command", expansion},
		{"Variable Expansion should allow substituting values in a volume subpath", subPathExpr},
		{"Variable Expansion should fail substituting values in a volume subpath with absolute path", subPathAbsolute},
		{"Pods should contain environment variables for services", links},
		{"Downward API volume should provide podname and container's cpu limit", downwardVolume},
		{"Secrets should be consumable in multiple volumes in a pod", secretVolumes},
		{"Subpath Atomic writer volumes should support subpaths with configmap pod", subPathOfConfigMap},
		{"ConfigMap updates should be reflected in volume", liveUpdates},
		{"Projected configMap optional updates should be reflected in volume", liveOptional},
		{"ConfigMap updates should be reflected in volume by an agent that was restarted", liveRestart},
		{"EmptyDir volumes pod should support shared volumes between containers", sharedEmptyDir},
		{"Kubelet should write entries to /etc/hosts when scheduling an agnhost Pod with hostAliases", hostAliases},
		{"DNS should support configurable pod DNS nameservers", podDNS},
		{"PersistentVolumes-local should be able to write from pod1 and read from pod2", claims},
		{"PersistentVolumes-local should mount a declared volume and leave its files", declaredVolume},
		{"Ephemeral volumes should be writable by all containers and go with the pod", ephemeralClaim},
		{"LocalStorageCapacityIsolation should evict a pod whose emptyDir holds more than its sizeLimit", sizeLimit},
	} {
		cases = append(cases, PodCase{Name: c.name, Test: func(t testing.TB, m Machine) {
			m.Config.HostIP, m.Config.Domain, m.Config.Nameserver = "192.0.2.1", "cluster.local", "192.0.2.53"
			m.Config.Secrets = openly{}
			c.test(newStage(t, m))
		}})
	}
	return cases
}

// openly is a key that opens what is not closed.
type openly struct{}

func (openly) Open(sealed []byte) ([]byte, error) { return sealed, nil }

// given has a config map and a secret, in the template and the placement.
func (s *stage) given(t *api.PodTemplate, p *api.Placement) {
	s.Helper()
	settings, err := s.bus.put(api.ConfigData{Data: map[string]string{"colour": "red", "a=b": "skipped"}})
	if err != nil {
		s.Fatal(err)
	}
	p.Sealed, err = s.bus.put(api.SecretContents{"login": {"user": []byte("ann"), "password": []byte("swordfish")}})
	if err != nil {
		s.Fatal(err)
	}
	t.ConfigMaps, t.Secrets = map[string]api.Digest{"settings": settings}, map[string]api.Digest{"login": "fingerprint"}
	t.Labels = map[string]string{"app": "web"}
}

// ending is the spec of a container that runs a script to its end; what the script says is its message.
func ending(script, more string) string {
	command, _ := json.Marshal([]string{"/bin/sh", "-ec", "(" + script + ") >/dev/termination-log"})
	return "restartPolicy: Never\ncontainers:\n- name: web\n  image: IMAGE\n  command: " + string(command) + "\n" + more
}

// tells runs a script in a pod, and compares what it says.
func (s *stage) tells(script, more, want string) {
	s.Helper()
	p := s.ends(s.runWith("web", ending(script, more), s.given), api.PodSucceeded)
	if got := container(p, "web").Message; strings.TrimSpace(got) != want {
		s.Errorf("it says %q, want %q", got, want)
	}
}

func envOfConfigMap(s *stage) {
	s.tells("echo $COLOUR and $S_colour; env | grep -c skipped || true", `
  env: [{name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}]
  envFrom: [{prefix: S_, configMapRef: {name: settings}}, {configMapRef: {name: none, optional: true}}]`, "red and red\n0")
}

func envOfSecret(s *stage) {
	s.tells("echo $PASSWORD $DB_user $URL", `
  envFrom: [{prefix: DB_, secretRef: {name: login}}]
  env:
  - {name: PASSWORD, valueFrom: {secretKeyRef: {name: login, key: password}}}
  - {name: URL, value: "db://$(PASSWORD)@db"}`, "swordfish ann db://swordfish@db")
}

func envOfFields(s *stage) {
	s.tells("echo $NAME $NAMESPACE $NODE $IP $HOST $APP $ACCOUNT", `
  env:
  - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
  - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
  - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
  - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
  - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}`,
		"web conformance "+nodeName+" 127.0.0.1 192.0.2.1 web default")
}

func envOfResources(s *stage) {
	s.tells("echo $CPU $MILLI $MEMORY $ASKED", `
  resources: {limits: {cpu: 1500m, memory: 64Mi}, requests: {cpu: 100m}}
  env:
  - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
  - {name: MILLI, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
  - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
  - {name: ASKED, valueFrom: {resourceFieldRef: {resource: requests.memory}}}`, "2 100 64 67108864")
}

func envOfAllocatable(s *stage) {
	s.tells("echo $CPU; [ $DISK -gt 0 ]", `
  env:
  - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
  - {name: DISK, valueFrom: {resourceFieldRef: {resource: limits.ephemeral-storage}}}`, "0")
}

func expansion(s *stage) {
	s.tells("echo $ALL and '$(ALL) $$(ALL) $(NONE)'", `
  env: [{name: ONE, value: one}, {name: ALL, value: "$(ONE);;$(TWO)"}, {name: TWO, value: two}]`, "one;;$(TWO) and one;;$(TWO) $(ALL) $(NONE)")
}

const scratch = "\nvolumes: [{name: v, emptyDir: {}}]"

func subPathExpr(s *stage) {
	s.tells("echo x >/part/file; ls /whole/logs/web", `
  env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeMounts: [{name: v, mountPath: /whole}, {name: v, mountPath: /part, subPathExpr: "logs/$(NAME)"}]`+scratch, "file")
}

func subPathAbsolute(s *stage) {
	uid := s.run("web", ending("true", `
  env: [{name: NAME, value: /tmp}]
  volumeMounts: [{name: v, mountPath: /part, subPathExpr: "$(NAME)"}]`+scratch))
	s.comes(uid, "it says what is wrong", func(p api.PodStatus) bool {
		c := container(p, "web")
		return c.Reason == "CreateContainerConfigError" && strings.Contains(c.Message, "must be a relative path")
	})
}

func links(s *stage) {
	s.bus.route(api.RouteTable{Revision: 1, Routes: []api.Route{{
		Service: api.Ref{Kind: "Service", Namespace: "conformance", Name: "my-db"}, ClusterIP: "10.96.0.1",
		Ports: []api.RoutePort{{Protocol: "TCP", Port: 5432}},
	}}})
	s.until("the node has the routes", s.bus.hasRoutes)
	s.tells("echo $MY_DB_SERVICE_HOST $MY_DB_SERVICE_PORT $MY_DB_PORT_5432_TCP", "", "10.96.0.1 5432 tcp://10.96.0.1:5432")
}

func downwardVolume(s *stage) {
	s.tells("cd /v; cat name; echo; cat labels; echo; cat cpu", `
  resources: {limits: {cpu: 1500m}}
  volumeMounts: [{name: v, mountPath: /v}]
volumes:
- name: v
  downwardAPI:
    items:
    - {path: name, fieldRef: {fieldPath: metadata.name}}
    - {path: labels, fieldRef: {fieldPath: metadata.labels}}
    - {path: cpu, resourceFieldRef: {containerName: web, resource: limits.cpu, divisor: 1m}}`, "web\napp=\"web\"\n1500")
}

func secretVolumes(s *stage) {
	s.tells("cat /one/password /two/deep/user; (: >/one/x) 2>/dev/null || echo; stat -c %a -L /two/deep/user", `
  volumeMounts: [{name: one, mountPath: /one}, {name: two, mountPath: /two}]
volumes:
- {name: one, secret: {secretName: login}}
- {name: two, secret: {secretName: login, defaultMode: 0400, items: [{key: user, path: deep/user}]}}`, "swordfishann\n400")
}

func subPathOfConfigMap(s *stage) {
	s.tells("cat /etc/colour; ls /etc | grep -c passwd", `
  volumeMounts: [{name: v, mountPath: /etc/colour, subPath: colour}]
volumes: [{name: v, configMap: {name: settings}}]`, "red1")
}

func sharedEmptyDir(s *stage) {
	s.tells("until [ -e /v/file ] && [ -e /dev/shm/file ]; do sleep 0.05; done; cat /v/file /dev/shm/file", `
  volumeMounts: [{name: v, mountPath: /v}]
- {name: other, image: IMAGE, command: [/bin/sh, -c, "echo memory >/dev/shm/file; echo disk >/v/file"], volumeMounts: [{name: v, mountPath: /v}]}`+scratch, "disk\nmemory")
}

func hostAliases(s *stage) {
	s.tells("tail -n 1 /etc/hosts; grep -c '127.0.0.1.web.sub.conformance.svc.cluster.local.web' /etc/hosts", `
subdomain: sub
hostAliases: [{ip: 192.0.2.7, hostnames: [old, older]}]`, "192.0.2.7\told\tolder\n1")
}

func podDNS(s *stage) {
	s.tells("cat /etc/resolv.conf", `
dnsPolicy: None
dnsConfig: {nameservers: [192.0.2.9], searches: [example], options: [{name: ndots, value: "2"}]}`, "nameserver 192.0.2.9\nsearch example\noptions ndots:2")
}

func claims(s *stage) {
	const mounts = `
  volumeMounts: [{name: v, mountPath: /v}]
volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]`
	s.tells("echo kept >/v/file", mounts, "")
	s.bus.assign(nil)
	s.until("the first pod is gone", func() bool { _, found := s.bus.pod(s.pods[0].UID); return !found })
	s.pods = nil
	s.tells("cat /v/file", mounts, "kept")
}

func sizeLimit(s *stage) {
	uid := s.run("web", ending("dd if=/dev/zero of=/v/big bs=1M count=4; sync; sleep 100000", `
  volumeMounts: [{name: v, mountPath: /v}]
volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]`))
	p := s.ends(uid, api.PodFailed)
	if p.Reason != "Evicted" || !strings.Contains(p.Message, "more than its sizeLimit 1Mi") {
		s.Errorf("its reason is %s: %s", p.Reason, p.Message)
	}
}
