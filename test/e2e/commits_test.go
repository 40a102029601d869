package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadCommits pushes what must not deploy, and asserts that nothing is deleted or restarted, that the error says where,
// and that the next good commit deploys at once.
func TestBadCommits(t *testing.T) {
	s := open(t)
	good := s.deploy("The last good commit")
	before := s.pids()
	doubled := "apiVersion: v1\nkind: Service\nmetadata: {name: catalog, namespace: shop}\nspec:\n  selector: {app: other}\n  ports: [{port: 81}]\n"
	for _, bad := range []struct {
		name  string
		spoil func(s *stage)
		words []string
	}{
		{"syntax error", func(s *stage) { s.write("catalog.yaml", "kind: Deployment\n  metadata: [\n") }, []string{"catalog.yaml:"}},
		{"syntax error in CUE", func(s *stage) { s.write("front/front.cue", "package front\n\ndeployment: {\n") }, []string{"front/front.cue:"}},
		{"wrong field", func(s *stage) { s.edit("catalog.yaml", "replicas: 3", "replica: 3") }, []string{"catalog.yaml:", "replica", "replicas"}},
		{"two definitions", func(s *stage) { s.write("second.yaml", doubled) }, []string{"second.yaml:", "catalog.yaml:", "Service/shop/catalog"}},
		{"empty tree", (*stage).empty, []string{"no object"}},
	} {
		t.Run(bad.name, func(t *testing.T) {
			s := &stage{t, s.Cluster}
			bad.spoil(s)
			s.refused(s.commit("Spoil: "+bad.name), bad.words...)
			s.sameProcesses(before)
			s.shop(20)
			s.git("revert", "--no-edit", "HEAD")
			s.deploy("Mend: " + bad.name)
			s.sameProcesses(before)
		})
	}
	t.Run("vanished branch", func(t *testing.T) {
		s := &stage{t, s.Cluster}
		s.git("push", "-q", "origin", "main:elsewhere")
		s.git("--git-dir", s.Repo.Origin, "update-ref", "-d", "refs/heads/main")
		s.refused("", "main")
		s.sameProcesses(before)
		s.shop(20)
		s.deploy("The branch is back")
		s.sameProcesses(before)
	})
	if s.report().Deployed.Commit == good {
		t.Error("the good commits after it were not deployed")
	}
}

// TestPlan asserts that planning twice gives the same bytes, that the plan is what happens, and that nothing is left to do
// after.
func TestPlan(t *testing.T) {
	s := open(t)
	s.edit("catalog.yaml", "10% off", "15% off")
	s.edit("front/front.cue", "replicas: 3", "replicas: 2")
	s.git("switch", "-q", "-c", "change")
	s.git("commit", "-q", "-a", "-m", "Change the offer, and one front less")
	var plans [2]string
	for i := range plans {
		out, err := s.Headway(t.Context(), "plan", "--to", "change", "-o", "json")
		if exitCode(err) != 2 {
			t.Fatalf("plan: %v\n%s", err, out)
		}
		plans[i] = out
	}
	if plans[0] != plans[1] {
		t.Errorf("two plans differ:\n%s\n%s", plans[0], plans[1])
	}
	s.git("switch", "-q", "main")
	s.git("merge", "-q", "change")
	s.deploy("Merge the change")
	pods, err := s.Pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		// Every pod that runs now was either there before, or stands in the plan by its name.
		if !strings.Contains(plans[0], p.Placement.Pod.Name) && p.Placement.Owner.Name == "catalog" {
			t.Errorf("pod %s was not planned:\n%s", p.Placement.Pod.Name, plans[0])
		}
	}
	if out, err := s.Headway(t.Context(), "plan"); err != nil {
		t.Errorf("after the rollout something is left to do: %v\n%s", err, out)
	}
}

// git runs git in the working copy.
func (s *stage) git(args ...string) {
	s.Helper()
	if _, err := s.Repo.Git(s.Context(), args...); err != nil {
		s.Fatal(err)
	}
}

// empty removes every file of the working copy.
func (s *stage) empty() {
	s.Helper()
	entries, err := os.ReadDir(s.Repo.Work)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == ".git" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.Repo.Work, e.Name())); err != nil {
			s.Fatal(err)
		}
	}
}
