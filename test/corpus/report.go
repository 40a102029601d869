package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// failure is an error for each tree or document that made the compiler panic or hang.
func (s *score) failure() error {
	var all []error
	for _, b := range s.Blockers {
		if b.Outcome == failed {
			all = append(all, fmt.Errorf("%s: %s", b.Example, b.Message))
		}
	}
	trees := s.Directories
	for _, r := range s.Repositories {
		trees = append(trees, r.Tree)
	}
	for _, t := range trees {
		if t.Failure != "" {
			all = append(all, fmt.Errorf("%s: %s", t.Directory, t.Failure))
		}
	}
	return errors.Join(all...)
}

// text is the score for a person, with the top fields that block.
func (s *score) text(top int) string {
	var b strings.Builder
	total := s.Documents.total()
	fmt.Fprintf(&b, "Documents in scope: %d (and %d that are not)\n", total, s.OutOfScope)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, o := range outcomes() {
		fmt.Fprintf(table, "%s\t%d\t%.1f %%\t\n", o, s.Documents[o], percent(s.Documents[o], total))
	}
	flush(table)

	complete := 0
	for _, d := range s.Directories {
		if d.Complete {
			complete++
		}
	}
	fmt.Fprintf(&b, "\nDirectories that load without an error, as the path that is synced: %d of %d (%.1f %%)\n",
		complete, len(s.Directories), percent(complete, len(s.Directories)))

	b.WriteString("\nRepositories: documents by outcome, directories, and the root as the path that is synced\n")
	table = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "repository\tdocuments\tload\t%\tfor now\tfor good\twrong\tdisputed\tdirectories\tobjects\terrors\twarnings\tms")
	for _, r := range s.Repositories {
		n := r.Documents.total()
		fmt.Fprintf(table, "%s\t%d\t%d\t%.0f\t%d\t%d\t%d\t%d\t%d/%d\t%d\t%d\t%d\t%d\n", r.Name, n, r.Documents[loads], percent(r.Documents[loads], n),
			r.Documents[notYet], r.Documents[refused], r.Documents[wrong], r.Documents[disputed],
			r.Complete, r.All, r.Tree.Objects, r.Tree.Errors, r.Tree.Warnings, r.Tree.Took.Milliseconds())
	}
	flush(table)

	fmt.Fprintf(&b, "\nWhat blocks most (%d of %d)\n", min(top, len(s.Blockers)), len(s.Blockers))
	table = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "documents\trepositories\tplace\toutcome\tmessage\texample")
	for _, k := range s.Blockers[:min(top, len(s.Blockers))] {
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%s\t%s\n", k.Documents, k.Repositories, k.Place, k.Outcome, shorten(k.Message), k.Example)
	}
	flush(table)
	return b.String()
}

// flush ends a table; a strings.Builder takes all.
func flush(w *tabwriter.Writer) {
	if err := w.Flush(); err != nil {
		panic(err)
	}
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

const messageRunes = 90

func shorten(s string) string {
	if utf8.RuneCountInString(s) <= messageRunes {
		return s
	}
	return string([]rune(s)[:messageRunes]) + "…"
}
