package evaluator_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"headway.dev/headway/evaluator"
	"headway.dev/headway/schema"
)

// children are the processes that this one has started and that have not been waited for.
func children(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(files) == 0 {
		t.Skip("the kernel does not list children")
	}
	var all []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		all = append(all, strings.Fields(string(data))...)
	}
	return all
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestLife follows a child: none before there is work, one that stays for the next job, none once idle.
func TestLife(t *testing.T) {
	e := newEvaluator(t, evaluator.Options{Idle: 300 * time.Millisecond})
	plain := fstest.MapFS{"a.yaml": file("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")}
	if compile(t, e, plain); len(children(t)) > 0 {
		t.Error("a tree of YAML alone has started a child")
	}
	compile(t, e, sound())
	eventually(t, "the children end when idle", func() bool { return len(children(t)) == 0 })
	if r := compile(t, e, sound()); len(r.Objects) == 0 {
		t.Error("after that, nothing is evaluated any more")
	}
}

// TestClosed ends the children at once, and does no more jobs.
func TestClosed(t *testing.T) {
	e := newEvaluator(t, evaluator.Options{})
	compile(t, e, sound())
	e.Close()
	if c := children(t); len(c) > 0 {
		t.Errorf("children %v outlive Close", c)
	}
	job := &schema.Job{Language: schema.CUE, Root: ".", Dirs: []string{"a"}, Files: []string{"a/a.cue"}}
	if err := e.Evaluate(t.Context(), sound(), job, func(string, *schema.Evaluation) {}); err == nil {
		t.Error("a closed evaluator does a job")
	}
}

// TestCancelled ends an evaluation that its caller no longer waits for.
func TestCancelled(t *testing.T) {
	e := newEvaluator(t, evaluator.Options{Time: time.Minute, Memory: 4 << 30})
	c, err := schema.New(schema.Options{Evaluator: e})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tree := opened{MapFS: cueBomb(), wanted: "bad/x.cue", seen: cancel}
	if _, err := c.Compile(ctx, tree); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the child ends", func() bool { return len(children(t)) == 0 })
}

// opened tells when a file is read.
type opened struct {
	fstest.MapFS
	wanted string
	seen   func()
}

func (o opened) ReadFile(name string) ([]byte, error) {
	data, err := o.MapFS.ReadFile(name)
	if name == o.wanted {
		o.seen()
	}
	return data, err
}

// TestOrphan kills a parent while its child is at work: the child ends too.
func TestOrphan(t *testing.T) {
	if pid := os.Getenv(orphanVariable); pid != "" {
		orphanParent(t, pid)
		return
	}
	orphan(t)
}

const orphanVariable = "HEADWAY_EVALUATOR_ORPHAN"

// orphanParent is the process that is to be killed: it writes the number of its child to a file and evaluates a bomb.
func orphanParent(t *testing.T, numberFile string) {
	e := newEvaluator(t, evaluator.Options{Time: time.Minute, Memory: 4 << 30})
	tree := opened{MapFS: cueBomb(), wanted: "bad/x.cue", seen: func() {
		if c := children(t); len(c) == 1 {
			if err := os.WriteFile(numberFile+".new", []byte(c[0]), 0o600); err == nil {
				_ = os.Rename(numberFile+".new", numberFile)
			}
		}
	}}
	compile(t, e, tree)
}

// running tells whether a process is there that has not ended.
func running(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func orphan(t *testing.T) {
	children(t) // skips where they are not known
	numberFile := filepath.Join(t.TempDir(), "child")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self, "-test.run=^TestOrphan$")
	parent.Env = append(os.Environ(), orphanVariable+"="+numberFile)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	eventually(t, "the child begins", func() bool {
		data, err := os.ReadFile(numberFile)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(string(data))
		return err == nil && running(pid)
	})
	if err := parent.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = parent.Wait() // it was killed
	eventually(t, "the child ends with its parent", func() bool { return !running(pid) })
}
