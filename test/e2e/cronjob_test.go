package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testimage"
	"headway.dev/headway/test/cluster"
)

// cronManifest is a CronJob of each minute. A run writes that it began, goes on for as long as it is held, and writes how it
// ended. %[1]s is its name, %[2]s a field of its spec, %[3]s the directory that all runs write to.
const cronManifest = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: %[1]s, namespace: shop}
spec:
  schedule: "* * * * *"
  %[2]s
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: run
              image: registry.example/test/busybox:1
              command: [sh, -c]
              args:
                - |
                  trap 'echo "stopped $JOB" >> /runs/journal; exit 1' TERM
                  echo "began $JOB" >> /runs/journal
                  while [ -e /runs/hold-$JOB ]; do sleep 0.1; done
                  echo "ended $JOB" >> /runs/journal
              env: [{name: JOB, valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}}]
              volumeMounts: [{name: runs, mountPath: /runs}]
          volumes: [{name: runs, hostPath: {path: %[3]s, type: Directory}}]
---
`

// TestCronJobs loses the control plane before a run is due, with all its data while runs are under way, and again at the
// very minute of the next. No run comes twice, and none is missed but what its CronJob says: what the runs wrote themselves
// shows it, and what the nodes have on record of them.
func TestCronJobs(t *testing.T) {
	r := startRuns(t)

	// Away while runs are due: they are made up for, unless it is too late.
	r.kill("server")
	first := time.Now().Truncate(time.Minute).Add(time.Minute)
	for _, name := range []string{"plain", "alone", "beside", "replaced"} {
		r.hold(runName(name, first))
	}
	r.until(first.Add(4 * time.Second))
	r.lab("start", "server")
	r.await("began", runName("plain", first), runName("alone", first), runName("beside", first), runName("replaced", first))

	// Lost with all that it knew: what is under way goes on, and what ends meanwhile has been.
	r.lose()
	r.release(runName("plain", first))
	r.await("ended", runName("plain", first))
	r.lab("start", "server")
	r.recorded(runName("plain", first), api.JobComplete)

	// Lost at the minute: each of the CronJobs does what it says of runs at the same time.
	second := first.Add(time.Minute)
	r.until(second)
	r.lose()
	for _, name := range []string{"beside", "replaced"} {
		r.hold(runName(name, second))
	}
	r.lab("start", "server")
	r.await("began", runName("plain", second), runName("beside", second), runName("replaced", second))
	r.await("ended", runName("plain", second))
	r.await("stopped", runName("replaced", first))
	if r.wrote("began", runName("alone", second)) != 0 || r.wrote("stopped", runName("beside", first)) != 0 {
		t.Errorf("what runs alone began beside another, or what may have others beside it was stopped:\n%s", r.journal())
	}
	r.release(runName("alone", first))
	r.await("ended", runName("alone", first))
	r.await("began", runName("alone", second))
	for _, name := range []string{"beside", "replaced"} {
		r.release(runName(name, second))
		r.recorded(runName(name, second), api.JobComplete)
	}
	r.recorded(runName("plain", second), api.JobComplete)
	r.recorded(runName("replaced", first), api.JobReplaced)

	journal := r.journal()
	for line := range strings.Lines(journal) {
		if n := strings.Count(journal, line); n != 1 {
			t.Errorf("%q is there %d times, want once", strings.TrimSpace(line), n)
		}
	}
	if r.wrote("began", runName("punctual", first)) != 0 {
		t.Error("a run began after its deadline")
	}
	t.Logf("the runs wrote:\n%s", journal)
}

// Runs are those of the CronJobs, which write to a directory what they do.
type runs struct {
	*stage
	dir string
}

// startRuns makes a cluster with the CronJobs, whose runs begin each minute from now on.
func startRuns(t *testing.T) *runs {
	t.Helper()
	s := start(t, cluster.Options{Nodes: 3, Manifests: fstest.MapFS{
		"shop.yaml": {Data: []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")},
	}})
	image, err := testimage.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Registry.Push(t.Context(), "test/busybox:1", image); err != nil {
		t.Fatal(err)
	}
	r := &runs{stage: s, dir: filepath.Join(s.Dir, "runs")}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]string{
		"plain":    "concurrencyPolicy: Forbid",
		"punctual": "startingDeadlineSeconds: 2",
		"alone":    "concurrencyPolicy: Forbid",
		"beside":   "concurrencyPolicy: Allow",
		"replaced": "concurrencyPolicy: Replace",
	} {
		s.write(name+".yaml", fmt.Sprintf(cronManifest, name, spec, r.dir))
	}
	s.deploy("Run each minute")
	return r
}

// runName is the Job that a CronJob makes for a minute.
func runName(cron string, due time.Time) string { return fmt.Sprintf("%s-%d", cron, due.Unix()/60) }

// hold has a run go on until it is released.
func (r *runs) hold(run string) {
	r.Helper()
	if err := os.WriteFile(r.held(run), nil, 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *runs) release(run string) {
	r.Helper()
	if err := os.Remove(r.held(run)); err != nil {
		r.Fatal(err)
	}
}

func (r *runs) held(run string) string { return filepath.Join(r.dir, "hold-"+run) }

// lose kills the server and removes all that it has, but for the nodes' passwords.
func (r *runs) lose() {
	r.Helper()
	r.kill("server")
	for _, dir := range []string{"bus", "mirror"} {
		r.removeAllBut(filepath.Join(r.Dir, "lab", "server", dir), "credentials")
	}
}

// until waits for a time of the clock.
func (r *runs) until(t time.Time) {
	r.Helper()
	select {
	case <-r.Context().Done():
		r.Fatal(r.Context().Err())
	case <-time.After(time.Until(t)):
	}
}

// journal is what the runs have written.
func (r *runs) journal() string {
	r.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Fatal(err)
	}
	return string(data)
}

// wrote is how often a run has written a word.
func (r *runs) wrote(word, run string) int {
	r.Helper()
	return strings.Count(r.journal(), word+" "+run+"\n")
}

// await waits until each of some runs has written a word.
func (r *runs) await(word string, runs ...string) {
	r.Helper()
	r.eventually("have all of "+strings.Join(runs, ", ")+" written that it "+word, func() string {
		for _, run := range runs {
			if r.wrote(word, run) == 0 {
				return run + " has not; they wrote\n" + r.journal()
			}
		}
		return ""
	})
}

// recorded waits until every node has it on its disk how a run ended.
func (r *runs) recorded(run string, outcome api.JobOutcome) {
	r.Helper()
	r.eventually("have "+run+" on record as "+string(outcome), func() string {
		files, err := filepath.Glob(filepath.Join(r.Dir, "lab", "n*", "assignment.json"))
		if err != nil || len(files) != 3 {
			return fmt.Sprintf("the nodes have %v, %v", files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err.Error()
			}
			var a api.Assignment
			if err := json.Unmarshal(data, &a); err != nil {
				return err.Error()
			}
			ended := func(j api.JobRecord) bool {
				return j.Job.Name == run && j.Outcome == outcome && (outcome != api.JobComplete || j.Succeeded.Len() == 1 && len(j.Failed) == 0)
			}
			if !slices.ContainsFunc(a.Jobs, ended) {
				return fmt.Sprintf("%s does not have it so", file)
			}
		}
		return ""
	})
}
