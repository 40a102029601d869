package conformance

import (
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

func declaredVolume(s *stage) {
	dir := s.TempDir()
	const mounts = `
  volumeMounts: [{name: v, mountPath: /v}]
volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]`
	bound := func(_ *api.PodTemplate, p *api.Placement) {
		p.Volumes = map[string]api.BoundVolume{"v": {Claim: "data", Volume: "disk", Path: dir, Type: corev1.HostPathDirectory, Local: true}}
	}
	s.ends(s.runWith("web", ending("echo kept >/v/file", mounts), bound), api.PodSucceeded)
	if content, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(content) != "kept\n" {
		s.Errorf("the volume holds %q: %v", content, err)
	}
	held := s.bus.held()
	if len(held) != 1 || held[0].Volume != "disk" || held[0].Ref.Name != "data" {
		s.Fatalf("the node holds %+v", held)
	}
	s.bus.assign(nil)
	s.until("the pod is gone", func() bool { _, found := s.bus.pod(s.pods[0].UID); return !found })
	s.stop()
	s.stop = func() {}
	if err := s.bus.PutStatus(s.Context(), api.NodeStatus{}); err != nil {
		s.Fatal(err)
	}
	s.start() // a daemon that is restarted knows the binding
	s.until("the claim is told of", func() bool { return len(s.bus.held()) == 1 })
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		s.Error(err)
	}
}

func ephemeralClaim(s *stage) {
	mounts := func(script string) string {
		return `
- {name: other, image: IMAGE, command: [/bin/sh, -c, "` + script + `"], volumeMounts: [{name: v, mountPath: /v}]}
volumes:
- name: v
  ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}`
	}
	const mine = "\n  volumeMounts: [{name: v, mountPath: /v}]"
	for _, word := range []string{"one", "two"} { // the second pod has the first one's name, and nothing of its files
		s.tells("ls /v; : >/v/ready; until [ -e /v/file ]; do sleep 0.05; done; cat /v/file",
			mine+mounts("until [ -e /v/ready ]; do sleep 0.05; done; echo "+word+" >/v/file"), word)
		s.bus.assign(nil)
		s.until("the pod is gone", func() bool { _, found := s.bus.pod(s.pods[0].UID); return !found })
		s.pods = nil
	}
	if held := s.bus.held(); len(held) > 0 {
		s.Errorf("the node holds %+v", held)
	}
}

// held are the claims that the node says it has.
func (b *stageBus) held() []api.HeldClaim {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status.Claims
}
