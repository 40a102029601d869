package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"headway.dev/headway/schema"
	"headway.dev/headway/sync/mirror"
)

// The goals of compiling 10,000 Deployments: from nothing, and after one changed. The figures are printed; the machine
// decides whether they are met, so no test holds them.
const (
	deployments     = 10_000
	goalCold        = 1500.0 // objects a second
	goalChanged     = 30.0   // milliseconds from a commit to its objects
	goalCompileHeap = 300.0  // MiB
)

// BenchmarkCompileCold compiles 10,000 Deployments in 100 directories with a compiler that has seen nothing.
func BenchmarkCompileCold(b *testing.B) {
	tree := fstest.MapFS{}
	for i := range deployments {
		tree[deploymentFile(i)] = &fstest.MapFile{Data: deployment(i, 0)}
	}
	for b.Loop() {
		compileAll(b, newCompiler(b), tree)
	}
	rate := deployments * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "objects/s")
	b.ReportMetric(rate/goalCold, "of-goal")
}

// BenchmarkCommitToObjects changes one file of 10,000, and measures from the end of the commit until its objects are
// there: the mirror's look at the repository, and the compile of the snapshot. It measures the heap too.
func BenchmarkCommitToObjects(b *testing.B) {
	repository := filepath.Join(b.TempDir(), "work")
	git(b, "", "init", "-q", "-b", "main", repository)
	for i := range deployments {
		write(b, filepath.Join(repository, deploymentFile(i)), deployment(i, 0))
	}
	git(b, repository, "add", ".")
	git(b, repository, "commit", "-qm", "10,000 deployments")
	git(b, repository, "gc", "-q")
	m, err := mirror.Open(b.Context(), mirror.Options{URL: repository, Ref: "main", Dir: filepath.Join(b.TempDir(), "mirror")})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	before := heap()
	c := newCompiler(b)
	compileAll(b, c, snapshot(b, m))

	var looking, compiling time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		write(b, filepath.Join(repository, deploymentFile(77)), deployment(77, i+1))
		git(b, repository, "add", deploymentFile(77))
		git(b, repository, "commit", "-qm", fmt.Sprint(i))
		runtime.GC()
		b.StartTimer()
		start := time.Now()
		tree := snapshot(b, m)
		looked := time.Now()
		compileAll(b, c, tree)
		looking += looked.Sub(start)
		compiling += time.Since(looked)
	}
	b.ReportMetric(ms(looking)/float64(b.N), "ms-looking/op")
	b.ReportMetric(ms(compiling)/float64(b.N), "ms-compiling/op")
	b.ReportMetric(goalChanged*float64(b.N)/ms(looking+compiling), "of-goal")
	used := heap() - before
	b.ReportMetric(used, "MiB-heap")
	b.ReportMetric(goalCompileHeap/used, "of-goal-heap")
	runtime.KeepAlive(c)
}

// heap is what is in use once nothing is left to collect, in MiB.
func heap() float64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

func newCompiler(b *testing.B) *schema.Compiler {
	b.Helper()
	c, err := schema.New(schema.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func compileAll(b *testing.B, c *schema.Compiler, tree fs.FS) {
	b.Helper()
	r, err := c.Compile(b.Context(), tree)
	if err != nil {
		b.Fatal(err)
	}
	if len(r.Objects) != deployments || !r.Complete {
		b.Fatalf("%d objects, want %d: %v", len(r.Objects), deployments, r.Problems[:min(3, len(r.Problems))])
	}
}

func snapshot(b *testing.B, m *mirror.Mirror) fs.FS {
	b.Helper()
	s, err := m.Fetch(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return s.FS()
}

func write(b *testing.B, name string, data []byte) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		b.Fatal(err)
	}
}

// git runs git apart from the configuration of whoever runs the benchmark.
func git(b *testing.B, dir string, args ...string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=gc.auto", "GIT_CONFIG_VALUE_0=0", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		b.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
}

func deploymentFile(i int) string { return fmt.Sprintf("team-%02d/web-%04d.yaml", i%100, i) }

// deployment is of the size that people write.
func deployment(i, version int) []byte {
	return fmt.Appendf(nil, `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-%[1]d
  labels: {app: web-%[1]d}
spec:
  replicas: 3
  selector:
    matchLabels: {app: web-%[1]d}
  template:
    metadata:
      labels: {app: web-%[1]d}
    spec:
      containers:
        - name: web
          image: registry.example/shop/web:1.%[2]d
          args: ["--listen", ":8080"]
          env:
            - name: GREETING
              value: hello
            - name: POD
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
          ports:
            - name: http
              containerPort: 8080
          readinessProbe:
            httpGet: {path: /ready, port: http}
          livenessProbe:
            httpGet: {path: /live, port: http}
            periodSeconds: 20
          resources:
            requests: {cpu: 50m, memory: 32Mi}
            limits: {memory: 128Mi}
          volumeMounts:
            - name: scratch
              mountPath: /scratch
      volumes:
        - name: scratch
          emptyDir: {}
`, i, version)
}
