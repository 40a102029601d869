package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// A format is how results are printed.
type format string

const (
	formatText     format = "text"
	formatTable    format = "table"
	formatWide     format = "wide"
	formatJSON     format = "json"
	formatYAML     format = "yaml"
	formatMarkdown format = "markdown"
	formatSARIF    format = "sarif"
)

// formatFlag adds -o with the formats that a command knows, the first of which is the default.
func formatFlag(c *cobra.Command, into *format, known ...format) {
	*into = known[0]
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = string(f)
	}
	c.Flags().VarP(&formatValue{into, known}, "output", "o", "how to print: "+strings.Join(names, ", "))
	// The flag was added by the line above: this cannot fail.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

type formatValue struct {
	into  *format
	known []format
}

func (v *formatValue) String() string { return string(*v.into) }
func (v *formatValue) Type() string   { return "format" }
func (v *formatValue) Set(s string) error {
	if !slices.Contains(v.known, format(s)) {
		return fmt.Errorf("unknown format %q: it is one of %v", s, v.known)
	}
	*v.into = format(s)
	return nil
}

// A colour is a terminal's code for one.
type colour string

const (
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

// paintFor gives what colours text for a stream: nothing does unless a person sees it and has not asked for none.
func paintFor(w io.Writer) func(colour, string) string {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return func(_ colour, s string) string { return s }
	}
	return func(c colour, s string) string {
		if s == "" {
			return ""
		}
		return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
	}
}

// exitUsage is the exit code of a command line, or a path on it, that is wrong, for commands in which 1 is a finding.
const exitUsage = 2

// usageExit gives a command that exit code for wrong flags and arguments.
func usageExit(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exit{code: exitUsage, err: err} })
	args := c.Args
	c.Args = func(c *cobra.Command, given []string) error {
		if err := args(c, given); err != nil {
			return exit{code: exitUsage, err: err}
		}
		return nil
	}
}

// printData writes a value as JSON or YAML.
func printData(w io.Writer, f format, value any) error {
	if f == formatYAML {
		data, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// printTable writes rows in columns under a header.
func printTable(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, row := range rows {
		for i, cell := range row {
			if cell == "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// age says how long ago something was, in one unit.
func age(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	d := max(now.Sub(then), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// subject is the first line of a commit's message.
func subject(message string) string {
	line, _, _ := strings.Cut(message, "\n")
	return line
}
