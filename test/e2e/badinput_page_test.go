package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/troubleshooting.md anew")

// TestTroubleshootingPage holds docs/troubleshooting.md to the pods that TestBadInput runs.
// go test ./test/e2e -run TroubleshootingPage -update writes it.
func TestTroubleshootingPage(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "troubleshooting.md")
	want := troubleshootingPage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the test has: run go test ./test/e2e -run TroubleshootingPage -update", page)
	}
}

func troubleshootingPage() string {
	var b strings.Builder
	b.WriteString(`# Why does a pod not run?

` + "`headway describe pod NAME`" + ` says why. Each row below is a pod of a test (` + "`TestBadInput`" + ` in ` + "`test/e2e`" + `), which runs all of them at the
same time on real containerd, with real registries, full disks and hostile images, and asserts the words; that no pod beside them is
restarted or loses a request; and that nothing of them is left when Git has them no more. An ellipsis stands for what differs.

*Generated: change the test, then run ` + "`go test ./test/e2e -run TroubleshootingPage -update`" + `.*
`)
	for _, s := range badInputs() {
		fmt.Fprintf(&b, "\n## %s\n\n| what is wrong | describe says | what to do |\n|---|---|---|\n", s.title)
		for _, r := range s.rows {
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", r.what, strings.ReplaceAll(r.says, "|", "\\|"), r.help)
		}
	}
	return b.String()
}
