package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"headway.dev/headway/schema"
)

func (a app) schemaCommand() *cobra.Command {
	var (
		recursive bool
		out       format
	)
	c := &cobra.Command{
		Use:   "schema [KIND[.FIELD...]]",
		Short: "Explain a kind or a field of it",
		Long: `Explain what headway makes of a kind, or of one field of it: the type, what is allowed, the default, the fields below,
and for each whether it is implemented, accepted without effect, or refused, and why. Without an argument, the kinds
are listed.`,
		Example: `  headway schema
  headway schema deployment.spec.strategy
  headway schema pod.spec.containers.readinessProbe --recursive
  headway schema service.spec.type -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeField,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return printKinds(a.stdout, out)
			}
			e, err := explain(args[0], recursive)
			if err != nil {
				return err
			}
			if out != formatText {
				return printData(a.stdout, out, e)
			}
			return printExplanation(a.stdout, e)
		},
	}
	c.Flags().BoolVar(&recursive, "recursive", false, "the fields of fields too, all the way down")
	formatFlag(c, &out, formatText, formatJSON, formatYAML)
	return c
}

// explain reads KIND.FIELD.FIELD, in which a list's items may be marked: containers[] or containers[0].
func explain(path string, recursive bool) (schema.Explanation, error) {
	compiler, err := schema.New(schema.Options{})
	if err != nil {
		return schema.Explanation{}, err
	}
	steps := strings.Split(path, ".")
	for i, s := range steps {
		steps[i], _, _ = strings.Cut(s, "[")
	}
	kind := steps[0]
	if known, err := parseKind(kind); err == nil {
		kind = known // deploy, svc and other short names
	}
	return compiler.Explain(kind, steps[1:], recursive)
}

func printKinds(w io.Writer, out format) error {
	compiler, err := schema.New(schema.Options{})
	if err != nil {
		return err
	}
	kinds := compiler.Kinds()
	if out != formatText {
		return printData(w, out, kinds)
	}
	rows := make([][]string, len(kinds))
	for i, k := range kinds {
		rows[i] = []string{k.Kind, k.APIVersion, k.Class, k.Reason}
	}
	return printTable(w, []string{"KIND", "APIVERSION", "CLASS", "WHY"}, rows)
}

func printExplanation(w io.Writer, e schema.Explanation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "KIND:     %s\nVERSION:  %s\n", e.Kind, e.APIVersion)
	f := e.Field
	if e.Path != "" {
		fmt.Fprintf(&b, "\nFIELD:    %s <%s>\n", e.Path, f.Type)
	}
	if f.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", f.Description)
	}
	if notes := notesOf(f, e.Path == ""); len(notes) > 0 {
		b.WriteString("\n")
		for _, n := range notes {
			fmt.Fprintf(&b, "%s\n", n)
		}
	}
	if len(f.Fields) > 0 {
		b.WriteString("\nFIELDS:\n")
		printFields(&b, f, "  ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printFields writes a line for each member and below it what there is to know of it.
func printFields(b *strings.Builder, f schema.FieldDoc, indent string) {
	for _, m := range f.Fields {
		fmt.Fprintf(b, "%s%s <%s>", indent, m.Name, m.Type)
		if m.Required {
			b.WriteString(" required")
		}
		b.WriteString("\n")
		for _, n := range notesOf(m, true) {
			fmt.Fprintf(b, "%s    %s\n", indent, n)
		}
		printFields(b, m, indent+"  ")
	}
	for _, one := range f.Choices {
		fmt.Fprintf(b, "%sAt most one of %s may be given", indent, strings.Join(one.Fields, ", "))
		if one.Required {
			b.WriteString(", and one must be")
		}
		b.WriteString(".\n")
	}
}

// notesOf says what is to know of a field, a line each; inner leaves out what its line says already.
func notesOf(f schema.FieldDoc, inner bool) []string {
	var notes []string
	switch f.Class {
	case "accepted":
		notes = append(notes, "accepted without effect: "+f.Reason)
	case "refused":
		notes = append(notes, "refused: "+f.Reason)
	default:
		if !inner {
			notes = append(notes, "implemented")
		}
	}
	if f.Required && !inner {
		notes = append(notes, "required")
	}
	if len(f.Values) > 0 && f.Allowed == "" {
		notes = append(notes, "one of: "+strings.Join(f.Values, ", "))
	}
	if f.Allowed != "" {
		notes = append(notes, "must be: "+f.Allowed)
	}
	if f.Default != nil {
		notes = append(notes, "default: "+valueText(f.Default))
	}
	if f.UniqueBy != "" {
		notes = append(notes, "each item has a "+f.UniqueBy+" of its own")
	}
	for _, v := range slices.Sorted(maps.Keys(f.RefusedValues)) {
		notes = append(notes, v+" is refused: "+f.RefusedValues[v])
	}
	return notes
}

func valueText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// completeField completes the kind, and then one field after the other.
func completeField(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	dot := strings.LastIndexByte(toComplete, '.')
	if dot < 0 {
		compiler, err := schema.New(schema.Options{})
		if err != nil {
			return nil, directive
		}
		var names []string
		for _, k := range compiler.Kinds() {
			if name := strings.ToLower(k.Kind); strings.HasPrefix(name, strings.ToLower(toComplete)) {
				names = append(names, name+"\t"+k.APIVersion+", "+k.Class)
			}
		}
		return names, directive
	}
	e, err := explain(toComplete[:dot], false)
	if err != nil {
		return nil, directive
	}
	var names []string
	for _, f := range e.Field.Fields {
		if name := toComplete[:dot+1] + f.Name; strings.HasPrefix(name, toComplete) && f.Name != "<key>" {
			names = append(names, name+"\t"+f.Type)
		}
	}
	return names, directive
}
