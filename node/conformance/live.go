package conformance

import (
	"maps"
	"strings"

	"headway.dev/headway/api"
)

// live has content that changes in place; a config map of no content is not declared.
func (s *stage) live(p *api.Placement, settings, password string, tuning map[string]string) {
	s.Helper()
	put := func(content any) api.Digest {
		digest, err := s.bus.put(content)
		if err != nil {
			s.Fatal(err)
		}
		return digest
	}
	p.Live = &api.LiveConfig{
		ConfigMaps: map[string]api.LiveContent{
			"settings": {Digest: put(api.ConfigData{Data: map[string]string{"colour": settings, "shade": settings}})},
			"tuning":   {Optional: true},
		},
		Secrets: map[string]api.LiveContent{"login": {Digest: api.Digest("print-of-" + password)}},
		Sealed:  put(api.SecretContents{"login": {"password": []byte(password)}}),
	}
	if tuning != nil {
		p.Live.ConfigMaps["tuning"] = api.LiveContent{Digest: put(api.ConfigData{Data: tuning}), Optional: true}
	}
}

// change gives the pods' placements anew.
func (s *stage) change(how func(*api.Placement)) {
	for i := range s.pods {
		how(&s.pods[i])
	}
	s.bus.assign(s.pods)
}

// liveFiles are the volumes of content that changes in place, of which a container says how they change: a line for each
// state that it sees, in which two files of one config map must agree.
const liveFiles = `
containers:
- name: web
  image: IMAGE
  command: [/bin/sh, -c, SCRIPT]
  env: [{name: FIXED, value: fixed}]
  volumeMounts: [{name: c, mountPath: /c}, {name: p, mountPath: /p}, {name: s, mountPath: /s}]
volumes:
- {name: c, configMap: {name: settings}}
- {name: s, secret: {secretName: login, defaultMode: 0400}}
- name: p
  projected:
    sources:
    - configMap: {name: settings, items: [{key: colour, path: deep/colour}]}
    - configMap: {name: tuning, optional: true}
    - secret: {name: login}`

// The directory that ..data leads to is entered once for both files, so that they are of one state; it may go meanwhile.
const liveScript = `last=; while :; do both="$(exec 2>/dev/null; cd -P /c/..data && cat colour && echo -n / && cat shade)" || continue; now="$both $(cat /p/deep/colour) $(cat /p/tuned 2>/dev/null || echo none) $(cat /p/password)=$(cat /s/password)"; [ "$now" = "$last" ] || echo "$now"; last="$now"; sleep 0.02; done`

func (s *stage) liveRun() string {
	s.Helper()
	return s.runWith("web", strings.ReplaceAll(liveFiles, "SCRIPT", "'"+strings.ReplaceAll(liveScript, "'", "''")+"'"),
		func(t *api.PodTemplate, p *api.Placement) {
			t.Annotations = map[string]string{api.ConfigAnnotation: api.ConfigLive}
			s.live(p, "red", "swordfish", nil)
		})
}

// says waits for the newest line of the log.
func (s *stage) says(uid, want string) {
	s.Helper()
	s.until("its newest line is "+want, func() bool {
		lines := strings.Split(strings.TrimSpace(s.log(uid)), "\n")
		return lines[len(lines)-1] == want
	})
}

// neverTorn holds that no container was restarted and every line is of one state.
func (s *stage) neverTorn(uid string) {
	s.Helper()
	p, _ := s.bus.pod(uid)
	if c := container(p, "web"); c.Restarts != 0 || c.State != "running" {
		s.Errorf("the container is %s after %d restarts", c.State, c.Restarts)
	}
	for line := range strings.Lines(s.log(uid)) {
		colour, rest, _ := strings.Cut(line, "/")
		if shade, _, _ := strings.Cut(rest, " "); colour != shade {
			s.Errorf("it saw half of a change: %q", line)
		}
	}
}

// liveUpdates changes what a running container has, and takes it back.
func liveUpdates(s *stage) {
	uid := s.liveRun()
	s.says(uid, "red/red red none swordfish=swordfish")
	s.change(func(p *api.Placement) { s.live(p, "blue", "marlin", nil) })
	s.says(uid, "blue/blue blue none marlin=marlin")
	s.change(func(p *api.Placement) { s.live(p, "red", "swordfish", nil) })
	s.says(uid, "red/red red none swordfish=swordfish")
	s.neverTorn(uid)
}

// liveOptional has an optional config map come and go.
func liveOptional(s *stage) {
	uid := s.liveRun()
	s.says(uid, "red/red red none swordfish=swordfish")
	s.change(func(p *api.Placement) { s.live(p, "red", "swordfish", map[string]string{"tuned": "high"}) })
	s.says(uid, "red/red red high swordfish=swordfish")
	s.change(func(p *api.Placement) { s.live(p, "red", "swordfish", nil) })
	s.says(uid, "red/red red none swordfish=swordfish")
	s.neverTorn(uid)
}

// liveRestart has the content change while no agent runs, and what cannot be had harm nothing.
func liveRestart(s *stage) {
	uid := s.liveRun()
	s.says(uid, "red/red red none swordfish=swordfish")
	s.stop()
	s.stop = func() {}
	s.change(func(p *api.Placement) { s.live(p, "green", "eel", nil) })
	s.start()
	s.says(uid, "green/green green none eel=eel")

	s.change(func(p *api.Placement) {
		p.Live = &api.LiveConfig{ConfigMaps: maps.Clone(p.Live.ConfigMaps), Secrets: p.Live.Secrets, Sealed: p.Live.Sealed}
		p.Live.ConfigMaps["settings"] = api.LiveContent{Digest: "there-is-no-such-blob"}
	})
	s.comes(uid, "says what is missing", func(p api.PodStatus) bool {
		return p.Reason == "FailedUpdate" && strings.Contains(p.Message, "config map settings")
	})
	s.says(uid, "green/green green none eel=eel")
	s.change(func(p *api.Placement) { s.live(p, "red", "eel", nil) })
	s.says(uid, "red/red red none eel=eel")
	s.comes(uid, "is well again", func(p api.PodStatus) bool { return p.Reason == "" && p.Ready })
	s.neverTorn(uid)
}
