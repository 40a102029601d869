package e2e_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/test/cluster"
)

// publicImages are the names by which the manifests call the images.
var publicImages = map[string][]string{
	"nginx":    {"nginx:1.27", "nginx:latest"},
	"redis":    {"redis:7.2", "redis:alpine"},
	"postgres": {"postgres:15", "postgres:15-alpine"},
}

// corpusManifests are real manifests, taken as they are where the corpus of real repositories is beside this one.
var corpusManifests = []string{
	"dockersamples__example-voting-app/k8s-specifications/redis-deployment.yaml",
	"dockersamples__example-voting-app/k8s-specifications/redis-service.yaml",
	"dockersamples__example-voting-app/k8s-specifications/db-deployment.yaml",
	"dockersamples__example-voting-app/k8s-specifications/db-service.yaml",
	"ContainerSolutions__kubernetes-examples/Pod/spec.containers.lifecycle/lifecycle.yaml",
}

// TestSoftware runs nginx, redis and PostgreSQL by manifests as their authors publish them, under the images' public names,
// and has their own clients talk to them.
func TestSoftware(t *testing.T) {
	testenv.RequireRoot(t)
	images := softwareImages(t)
	manifests, err := fs.Sub(software, "testdata/software/manifests")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, cluster.Options{Nodes: 2, Manifests: manifests, Mirrors: []string{"docker.io"}})
	for name, public := range publicImages {
		for _, reference := range public {
			if err := s.Registry.Push(t.Context(), "library/"+reference, images[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	corpus := s.addCorpus()
	s.deploy("Run real software")
	s.testNginx()
	s.testRedis("deployment/redis", "cache")
	s.testPostgres("statefulset/postgres", "database", "ps_user", "ps_db")
	s.testKept()
	if corpus {
		s.testRedis("deployment/redis", "default")
		s.testPostgres("deployment/db", "default", "postgres", "postgres")
	}
}

// addCorpus adds the real manifests to the repository, if they are there.
func (s *stage) addCorpus() bool {
	s.Helper()
	for _, name := range corpusManifests {
		data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpus", name))
		if err != nil {
			s.Logf("without the corpus of real manifests: %v", err)
			return false
		}
		s.write(path.Join("corpus", path.Base(name)), string(data))
	}
	return true
}

// exec runs a command in a pod, as a person does, and returns what it printed.
func (s *stage) exec(target, namespace string, command ...string) string {
	s.Helper()
	return strings.TrimSpace(s.run(append([]string{"exec", "-n", namespace, target, "--"}, command...)...))
}

// testNginx gets pages from the service's address, on each node.
func (s *stage) testNginx() {
	s.Helper()
	for _, node := range []string{"n1", "n2"} {
		for page, want := range map[string]string{"": "<h1>Hello from a config map</h1>", "healthz": "healthy"} {
			out, err := s.Lab(s.Context(), "exec", node, "--", "busybox", "wget", "-q", "-O", "-", "http://10.96.0.80/"+page)
			if err != nil || strings.TrimSpace(out) != want {
				s.Errorf("%s on %s: %q, %v; want %q", page, node, out, err, want)
			}
		}
	}
	logs := s.run("logs", "deployment/nginx-deployment", "-n", "web")
	if !strings.Contains(logs, `"GET / HTTP/1.1" 200`) {
		s.Errorf("nginx logs no request:\n%s", logs)
	}
}

// testRedis talks to redis by its own client, from its own pod, by the name of its service.
func (s *stage) testRedis(target, namespace string) {
	s.Helper()
	for _, step := range []struct{ command, want string }{
		{"PING", "PONG"},
		{"SET greeting hello", "OK"},
		{"GET greeting", "hello"},
		{"INCRBY visits 41", "41"},
		{"INCR visits", "42"},
	} {
		command := append([]string{"redis-cli", "-h", "redis"}, strings.Fields(step.command)...)
		if got := s.exec(target, namespace, command...); got != step.want {
			s.Errorf("redis of %s: %s: %q, want %q", namespace, step.command, got, step.want)
		}
	}
	if namespace == "cache" {
		if got := s.exec(target, namespace, "redis-cli", "CONFIG", "GET", "maxmemory"); got != "maxmemory\n2097152" {
			s.Errorf("redis does not follow its config map: %q", got)
		}
	}
}

// testPostgres makes a table, fills it and reads it.
func (s *stage) testPostgres(target, namespace, user, database string) {
	s.Helper()
	for _, step := range []struct{ statement, want string }{
		{"CREATE TABLE fruit (name text PRIMARY KEY, price numeric(6,2))", "CREATE TABLE"},
		{"INSERT INTO fruit VALUES ('apple', 0.40), ('pear', 0.55)", "INSERT 0 2"},
		{"SELECT name || ' ' || price FROM fruit ORDER BY price DESC", "pear 0.55\napple 0.40"},
	} {
		if got := s.psql(target, namespace, user, database, step.statement); got != step.want {
			s.Errorf("postgres of %s: %s: %q, want %q", namespace, step.statement, got, step.want)
		}
	}
}

func (s *stage) psql(target, namespace, user, database, statement string) string {
	s.Helper()
	return s.exec(target, namespace, "psql", "-U", user, "-d", database, "-Atc", statement)
}

// testKept replaces the database's pod: it comes up on the same data, which its users reach by its service with the
// password of the secret.
func (s *stage) testKept() {
	s.Helper()
	before := s.incarnation("database", "postgres-0")
	s.edit("postgres.yaml", "terminationGracePeriodSeconds: 20", "terminationGracePeriodSeconds: 21")
	s.deploy("Replace the database")
	if after := s.incarnation("database", "postgres-0"); after == before {
		s.Fatalf("the pod is still %s", after)
	}
	const url = "postgresql://ps_user:SecurePassword@postgres.database.svc.cluster.local/ps_db"
	if got := s.exec("statefulset/postgres", "database", "psql", url, "-Atc", "SELECT count(*) FROM fruit"); got != "2" {
		s.Errorf("after the restart there are %q rows, want 2", got)
	}
	if got := s.psql("statefulset/postgres", "database", "ps_user", "ps_db", "SELECT count(*) FROM visits"); got != "0" {
		s.Errorf("the table of the init script has %q rows, want 0", got)
	}
	wrong := strings.Replace(url, "SecurePassword", "guess", 1)
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	if out, err := s.Headway(ctx, "exec", "-n", "database", "statefulset/postgres", "--", "psql", wrong, "-Atc", "SELECT 1"); err == nil {
		s.Errorf("a wrong password is let in: %q", out)
	}
}

// incarnation tells the pods apart that have had a name.
func (s *stage) incarnation(namespace, name string) string {
	s.Helper()
	pods, err := s.Pods(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for _, p := range pods {
		if p.Placement.Pod == api.PodRef(namespace, name) {
			return p.Placement.UID
		}
	}
	s.Fatal(fmt.Errorf("there is no pod %s/%s", namespace, name))
	return ""
}
