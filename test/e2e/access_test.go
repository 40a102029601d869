package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestAccess reaches into pods as people do: by nothing but the bus.
func TestAccess(t *testing.T) {
	s := open(t)
	t.Run("logs", s.testLogs)
	t.Run("cp", s.testCopy)
	t.Run("port-forward", s.testForward)
	t.Run("top", s.testTop)
	t.Run("events", s.testEvents)
	t.Run("wrong uses", s.testWrongUses)
}

func (s *stage) testLogs(t *testing.T) {
	pods, err := s.Pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var front []string
	for _, p := range pods {
		if p.Placement.Owner.Name == "front" {
			front = append(front, p.Placement.Pod.Name)
		}
	}
	for _, args := range [][]string{{"deployment/front", "--prefix"}, {"-l", "app=front", "--all-containers", "--tail", "3"}, front} {
		s.run(append([]string{"logs"}, args...)...)
	}
	written := regexp.MustCompile(`^[0-9-]{10}T[0-9:.]+Z .`)
	for line := range strings.Lines(s.run("logs", front[0], "--timestamps", "--since", "1h")) {
		if !written.MatchString(line) {
			t.Errorf("no time before %q", line)
		}
	}
	if out := s.run("logs", front[0], "--since", "1ns"); out != "" {
		t.Errorf("since now: %q", out)
	}
	// Each log that cannot be read is told of.
	_, err = s.Headway(t.Context(), "logs", "deployment/front", "-c", "none")
	for _, name := range front {
		if err == nil || !strings.Contains(err.Error(), "shop/"+name+"/none: ") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.Headway(ctx, "attach", front[0]); ctx.Err() == nil {
		t.Errorf("attach ended while the container runs: %v", err)
	}
}

// front is one of the shop's pods.
func (s *stage) front(t *testing.T) string {
	t.Helper()
	pods, err := s.Pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if p.Placement.Owner.Name == "front" && p.Ready {
			return p.Placement.Pod.Name
		}
	}
	t.Fatal("no pod is ready")
	return ""
}

func (s *stage) testCopy(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "site", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("0123456789abcdef", 1<<16) // more than the bus takes at once
	if err := os.WriteFile(filepath.Join(dir, "site", "sub", "page"), []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/page", filepath.Join(dir, "site", "link")); err != nil {
		t.Fatal(err)
	}
	pod := "shop/" + s.front(t)
	s.run("cp", filepath.Join(dir, "site"), pod+":/")
	s.run("cp", pod+":/site", filepath.Join(dir, "back"))
	got, err := os.ReadFile(filepath.Join(dir, "back", "link"))
	if err != nil || string(got) != content {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(content), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "back", "sub", "page")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode: %v, %v", info, err)
	}
}

// testForward talks to a pod by a port of this machine, in several connections.
func (s *stage) testForward(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), s.Binary, "port-forward", "deployment/front", ":http")
	cmd.Env = append(os.Environ(), "HEADWAY_CONTEXT="+filepath.Join(s.Dir, "lab", "context.json"))
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("interrupted, it ended with %v", err)
		}
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var address, rest string
	if _, err := fmt.Sscanf(line, "Forwarding from %s to %s", &address, &rest); err != nil {
		t.Fatalf("it says %q: %v", line, err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 5 {
		response, err := client.Get("http://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil {
			t.Error(err)
		}
	}
	// A client that ends its half still gets the answer.
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.") {
		t.Errorf("the answer is %q, %v", answer, err)
	}
}

func (s *stage) testTop(t *testing.T) {
	var rows []struct {
		Node   string
		Memory uint64
	}
	for kind, least := range map[string]int{"pods": 2, "nodes": 3} {
		if err := json.Unmarshal([]byte(s.run("top", kind, "-o", "json", "--interval", "200ms")), &rows); err != nil {
			t.Fatal(err)
		}
		if len(rows) < least || rows[0].Memory == 0 || rows[0].Node == "" {
			t.Errorf("top %s: %+v", kind, rows)
		}
	}
	if out := s.run("top", "pods", "-l", "app=front", "--containers", "--sort-by", "memory"); !strings.Contains(out, "front") {
		t.Errorf("top pods:\n%s", out)
	}
}

func (s *stage) testEvents(t *testing.T) {
	out := s.run("events", "--for", "deployment/front", "-o", "json")
	if strings.Contains(out, `"catalog`) {
		t.Errorf("events of another object:\n%s", out)
	}
}

func (s *stage) testWrongUses(t *testing.T) {
	for want, args := range map[string][]string{
		"no node reports a pod":         {"logs", "nobody"},
		"do not go together":            {"logs", "-f", "-p", "deployment/front"},
		"it has ":                       {"logs", "deployment/front", "-c", "none"},
		"is missing":                    {"exec", "deployment/front"},
		"has no port":                   {"port-forward", "deployment/front", "nothing"},
		"neither side names a pod":      {"cp", "a", "b"},
		"no such file":                  {"cp", "deployment/front:/none", "."},
		"lies in the future":            {"events", "--since", "-1m"},
		"it is name, cpu or memory":     {"top", "pods", "--sort-by", "size"},
		"file system of the kernel":     {"cp", "deployment/front:/proc", t.TempDir()},
		"is written as 2026-01-02T15:0": {"logs", "deployment/front", "--since-time", "yesterday"},
	} {
		out, err := s.Headway(t.Context(), args...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("headway %s: %v; want %q; it printed %q", strings.Join(args, " "), err, want, out)
		}
	}
}
