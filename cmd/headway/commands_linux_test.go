package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/commands.md anew")

const commandsPage = "../../docs/commands.md"

func root() *cobra.Command {
	return app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}.rootCommand()
}

// eachCommand visits all commands in the order of the help.
func eachCommand(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, visit)
	}
}

// TestCommandsExplainThemselves asks every command for what a person needs to use it.
func TestCommandsExplainThemselves(t *testing.T) {
	eachCommand(root(), func(c *cobra.Command) {
		name := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short is %q: it is one line without a full stop", name, c.Short)
		}
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: Example does not show it in use", name)
		}
		if c.Runnable() && c.Args == nil {
			t.Errorf("%s: Args does not say how many it takes", name)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s: no usage", name, f.Name)
			}
		})
	})
}

// TestCommandsPage holds docs/commands.md to the commands. go test ./cmd/headway -run CommandsPage -update writes it.
func TestCommandsPage(t *testing.T) {
	want := writeCommands(root())
	if *update {
		if err := os.WriteFile(commandsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the commands say: run go test ./cmd/headway -run CommandsPage -update", commandsPage)
	}
}

func writeCommands(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(`# The commands

*Generated from the commands' own help: change that, then run ` + "`go test ./cmd/headway -run CommandsPage -update`" + `.*

Results go to standard output, everything else to standard error. The exit code is 0 for success and 1 for an error, unless
a command says otherwise below. ` + "`headway completion bash|zsh|fish|powershell`" + ` writes what a shell needs to complete them.

`)
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "## %s\n\n| command | | -o |\n|---|---|---|\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID != g.ID {
				continue
			}
			eachCommand(c, func(c *cobra.Command) {
				if !c.Runnable() {
					return
				}
				use := strings.TrimSuffix(strings.TrimPrefix(c.UseLine(), "headway "), " [flags]")
				fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", strings.ReplaceAll(use, "|", `\|`), anchor(c), c.Short, formats(c))
			})
		}
		b.WriteString("\n")
	}
	for _, c := range root.Commands() {
		if c.GroupID != "" {
			eachCommand(c, func(c *cobra.Command) { writeCommand(&b, c) })
		}
	}
	return b.String()
}

func anchor(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// formats lists what -o takes.
func formats(c *cobra.Command) string {
	f := c.Flags().Lookup("output")
	if f == nil {
		return ""
	}
	return strings.TrimPrefix(f.Usage, "how to print: ")
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	if !c.Runnable() {
		return
	}
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(b, "## %s\n\n%s\n\n```\n%s\n```\n", c.CommandPath(), text, strings.TrimRight(c.Example, "\n"))
	if flags := c.LocalFlags().FlagUsages(); flags != "" {
		fmt.Fprintf(b, "\n```\n%s```\n", flags)
	}
	b.WriteString("\n")
}
