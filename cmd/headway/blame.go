package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/schema"
	"headway.dev/headway/sync/history"
	"headway.dev/headway/sync/mirror"
)

// A blame says of each field of an object which commit gave it the value that it has.
type blame struct {
	Ref    api.Ref       `json:"ref"`
	Source api.Position  `json:"source"`
	Fields []blamedField `json:"fields"` // ordered by path
}

type blamedField struct {
	Path     string       `json:"path"`
	Value    string       `json:"value"` // as JSON
	Revision api.Revision `json:"revision"`
}

func (a app) blameCommand() *cobra.Command {
	var (
		repo, path string
		limit      int
		out        format
	)
	c := &cobra.Command{
		Use:   "blame OBJECT [REV]",
		Short: "Which commit gave each field of an object its value",
		Long: `Say of each field of an object, defaults too, which commit gave it the value that it has in REV (default: HEAD). The
compiled objects are compared along the history, not the files: it does not matter where a field is written, nor in
which language. OBJECT is Kind/namespace/name, or Kind/name. Values of secrets are not shown.`,
		Example: `  headway blame Deployment/shop/front
  headway blame Service/shop/front v1.4 -o json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := api.ParseRef(args[0])
			if err != nil {
				return err
			}
			rev := "HEAD"
			if len(args) == 2 {
				rev = args[1]
			}
			local, err := mirror.OpenLocal(repo, path)
			if err != nil {
				return err
			}
			b, err := blameObject(c.Context(), local, ref, rev, limit)
			if err != nil {
				return err
			}
			if out != formatText {
				return printData(a.stdout, out, b)
			}
			return b.print(a.stdout)
		},
	}
	c.Flags().StringVar(&repo, "repo", ".", "local repository (or a folder in it)")
	c.Flags().StringVar(&path, "path", "", "folder of the repository that holds the manifests (default: all)")
	c.Flags().IntVar(&limit, "limit", 0, "go back at most so many commits; 0 is all")
	formatFlag(c, &out, formatText, formatJSON, formatYAML)
	return c
}

// blameObject walks back until every field has had another value. A revision in which the object does not evaluate says
// nothing of it, and is passed over.
func blameObject(ctx context.Context, local *mirror.Local, ref api.Ref, rev string, limit int) (blame, error) {
	compiler, end, err := newCompiler(compilerOptions{}, nil)
	if err != nil {
		return blame{}, err
	}
	defer end()
	head, err := local.At(ctx, rev)
	if err != nil {
		return blame{}, err
	}
	object, now, _, err := fieldsAt(ctx, compiler, head, ref)
	if err != nil {
		return blame{}, err
	}
	if now == nil {
		return blame{}, fmt.Errorf("%s is not in %s: \"headway validate\" says whether it is refused; the name is Kind/namespace/name", ref, rev)
	}
	entries, err := history.Log(ctx, head, limit)
	if err != nil {
		return blame{}, err
	}
	b := blame{Ref: ref, Source: object.Source}
	by := map[string]api.Revision{}
	open := maps.Clone(now)
	since := head.Revision // the oldest revision known to have what is open
	for _, e := range entries {
		if len(open) == 0 {
			break
		}
		snapshot, err := local.At(ctx, e.Revision.Commit)
		if err != nil {
			return blame{}, err
		}
		_, then, known, err := fieldsAt(ctx, compiler, snapshot, ref)
		if err != nil {
			return blame{}, err
		}
		if !known {
			continue
		}
		for p, v := range open {
			if old, ok := then[p]; !ok || old != v {
				by[p] = since
				delete(open, p)
			}
		}
		since = e.Revision
	}
	for p := range open {
		by[p] = since
	}
	for _, p := range slices.Sorted(maps.Keys(now)) {
		value := now[p]
		if ref.Kind == "Secret" {
			value = "(not shown)"
		}
		b.Fields = append(b.Fields, blamedField{Path: p, Value: value, Revision: by[p]})
	}
	return b, nil
}

// fieldsAt compiles a revision and gives the object's fields; nil if it is not there. They are not known if the object
// may be missing because it is refused.
func fieldsAt(ctx context.Context, compiler *schema.Compiler, s *mirror.Snapshot, ref api.Ref) (o api.Object, fields map[string]string, known bool, err error) {
	result, err := compiler.Compile(ctx, s.FS())
	if err != nil {
		return o, nil, false, fmt.Errorf("compile %s: %w", s.Revision.Short(), err)
	}
	i := slices.IndexFunc(result.Objects, func(o api.Object) bool { return o.Ref == ref })
	if i < 0 {
		return o, nil, result.Complete, nil
	}
	o = result.Objects[i]
	data, err := json.Marshal(o.Value)
	if err != nil {
		return o, nil, false, err
	}
	var value map[string]any
	if err := json.Unmarshal(data, &value); err != nil {
		return o, nil, false, err
	}
	for _, name := range []string{"apiVersion", "kind", "status"} {
		delete(value, name)
	}
	fields = map[string]string{}
	leaves(value, "", fields)
	return o, fields, true, nil
}

// leaves collects scalars, and what is empty, by path.
func leaves(v any, at string, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for name, m := range v {
			p := name
			if at != "" {
				p = at + "." + name
			}
			leaves(m, p, into)
		}
		return
	case []any:
		for i, m := range v {
			leaves(m, at+"["+strconv.Itoa(i)+"]", into)
		}
		return
	case nil:
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON before
	}
	into[at] = string(data)
}

func (b blame) print(w io.Writer) error {
	fmt.Fprintf(w, "%s  %s\n\n", b.Ref, b.Source)
	rows := make([][]string, len(b.Fields))
	for i, f := range b.Fields {
		r := f.Revision
		rows[i] = []string{r.Short(), r.Time.UTC().Format("2006-01-02 15:04Z"), subject(r.Message), f.Path, f.Value}
	}
	return printTable(w, []string{"COMMIT", "WHEN", "SUBJECT", "FIELD", "VALUE"}, rows)
}
